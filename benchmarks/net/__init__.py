"""What must stay equal while the code moves: frozen inputs, commands about them, and their answers."""
