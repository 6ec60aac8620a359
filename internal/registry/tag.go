package registry

// IsTag reports whether s is a valid tag (OCI distribution specification, "Pulling
// manifests").
func IsTag(s string) bool { return wholeTag.MatchString(s) }
