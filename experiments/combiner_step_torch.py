"""The posterior step of a COMBINER-sized network in PyTorch, one image at a time as its encoder works.

    python experiments/combiner_step_torch.py      (needs torch, and nothing of recjax)

An own minimal model of the same computation, to have a yardstick on the machine at hand: SIREN 32-16-16-16-3,
1,123 Gaussian weights with local reparameterisation, all 1,024 pixels, Adam. COMBINER takes 25,000 such steps
before it codes the first block.
"""

import time

import torch

STEPS = 25_000


def main() -> None:
    torch.manual_seed(0)
    dims = [(32, 16), (16, 16), (16, 16), (16, 3)]
    inputs, target = torch.randn(1024, 32), torch.rand(1024, 3)
    means = [(0.05 * torch.randn(n_in + 1, n_out)).requires_grad_() for n_in, n_out in dims]
    raw_stds = [torch.full((n_in + 1, n_out), -6.0, requires_grad=True) for n_in, n_out in dims]
    optimiser = torch.optim.Adam([*means, *raw_stds], lr=1e-4)

    def step():
        hidden, kl = inputs, 0.0
        for i, (mean, raw) in enumerate(zip(means, raw_stds)):
            std = torch.nn.functional.softplus(raw)
            centre = hidden @ mean[1:] + mean[0]
            spread = torch.sqrt(hidden**2 @ std[1:] ** 2 + std[0] ** 2)
            hidden = centre + spread * torch.randn_like(centre)
            if i < len(dims) - 1:
                hidden = torch.sin(30.0 * hidden)
            kl = kl + (0.5 * (std**2 + mean**2 - 1) - torch.log(std)).sum()
        loss = ((hidden - target) ** 2).mean() + 1e-6 * kl
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    for _ in range(50):
        step()
    count, start = 500, time.perf_counter()
    for _ in range(count):
        step()
    each = (time.perf_counter() - start) / count
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads: {1e3 * each:.2f} ms a step"
    )
    print(f"{STEPS} steps of one image: {STEPS * each:.0f} s")


if __name__ == "__main__":
    main()
