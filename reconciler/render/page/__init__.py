"""The local page: HTML from looks. Pure; whatever a task, an agent or a branch is called is escaped where it is put in."""
