"""Running the cells of a study: a supervisor, its workers, the store of what is done."""
