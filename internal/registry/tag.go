package registry

// IsTag says whether s can be a tag (OCI distribution specification, "Pulling
// manifests").
func IsTag(s string) bool { return wholeTag.MatchString(s) }
