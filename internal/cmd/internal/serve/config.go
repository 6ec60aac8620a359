package serve

// Config has the values of the flags about the registry itself. Storage and Authentication
// translate it to the configuration of a registry library.
type Config struct {
	// Delete allows deleting manifests, tags and blobs.
	Delete bool
	// ReadOnly rejects every write.
	ReadOnly bool
	// Schema1 accepts Docker schema 1 manifests, if the registry supports them.
	Schema1 bool
	// Root is the directory of the filesystem driver. Content is in memory if it is "".
	Root string
	// Htpasswd is a file with users and bcrypt hashes, or "".
	Htpasswd string
	// Token configures which tokens are trusted. It is unused if Realm is "".
	Token Token
	// Verbose logs every request to standard error.
	Verbose bool
}

// Token is the configuration of Docker's token authentication.
type Token struct {
	// Realm is the URL of the token server. Service and Issuer are the audience and the issuer
	// of its tokens.
	Realm, Service, Issuer string
	// RootCert is a PEM file with the certificates of the token signers.
	RootCert string
}

// Storage returns the storage section of a registry's configuration, in the types of a version
// of distribution. All versions use the same keys.
func Storage[Section ~map[string]Parameters, Parameters ~map[string]any](c Config) Section {
	storage := Section{
		"delete":   {"enabled": c.Delete},
		"redirect": {"disable": true},
		"maintenance": {
			"uploadpurging": map[any]any{"enabled": false},
			"readonly":      map[any]any{"enabled": c.ReadOnly},
		},
	}
	if c.Root != "" {
		storage["filesystem"] = Parameters{"rootdirectory": c.Root}
	} else {
		storage["inmemory"] = nil
	}
	return storage
}

// Authentication returns the auth section of a registry's configuration, or nil if no
// authentication is required.
func Authentication[Section ~map[string]Parameters, Parameters ~map[string]any](c Config) Section {
	switch {
	case c.Htpasswd != "":
		return Section{"htpasswd": {"realm": "registry", "path": c.Htpasswd}}
	case c.Token.Realm != "":
		return Section{"token": {
			"realm":          c.Token.Realm,
			"service":        c.Token.Service,
			"issuer":         c.Token.Issuer,
			"rootcertbundle": c.Token.RootCert,
		}}
	}
	return nil
}
