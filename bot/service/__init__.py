"""What happens to a request: it is executed, delivered, expired."""
