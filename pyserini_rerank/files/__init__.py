"""Every file that comes in or goes out."""
