"""KVM: permission for guests."""
