"""What is done with finished results: nets are loaded and asked, folders are checked."""
