"""Policy chains as operators handle them: programs found, chains layered, applied as one transaction, kept, explained."""
