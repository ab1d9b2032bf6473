"""What a classifier sees in the field: counted, compared with its export, and in part kept. Off unless asked for."""
