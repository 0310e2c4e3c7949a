"""What the pages draw, a package for each page: a view reads what it shows from the services."""
