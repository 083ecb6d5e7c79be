"""What goes into a prompt besides the line being typed."""
