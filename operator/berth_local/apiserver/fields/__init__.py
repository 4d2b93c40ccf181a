"""Who manages which field: the field sets of `metadata.managedFields`, and server-side apply."""
