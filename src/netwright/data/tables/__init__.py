"""Tables: text and typed files into cells, cells into network inputs."""
