"""What every page and every API operation of every room is made with: forms, errors, pages of rows, the API's shapes."""
