"""What every page and every API operation is made with: forms, errors, pages of rows, the API's shapes."""
