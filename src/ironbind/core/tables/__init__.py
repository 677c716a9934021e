"""What tables are written with: cells that are safe in a spreadsheet, intervals around shares. Torch-free."""
