"""What `fedkd fleet check` looks at: this machine, the network, a host's own, the server's own."""
