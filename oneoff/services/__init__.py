"""What built-in commands do, apart from being commands."""
