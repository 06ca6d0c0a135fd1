"""What a run looks like: on the terminal, as JSON, KTAP and HTML, and as properties of JUnit files."""
