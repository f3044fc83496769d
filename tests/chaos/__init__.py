"""Three minutes of cut lines and killed servers, and then the question whether anything was lost."""
