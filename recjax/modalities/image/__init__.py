"""Images: files, colours, patches and PSNR."""
