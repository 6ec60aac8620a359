package serve

// Config is what the flags say about the registry itself. Storage and
// Authentication translate it into the configuration of a registry library.
type Config struct {
	// Delete allows deleting manifests, tags and blobs.
	Delete bool
	// ReadOnly refuses every write.
	ReadOnly bool
	// Schema1 accepts Docker schema 1 manifests, where the registry can.
	Schema1 bool
	// Root is the directory of the filesystem driver; "" for memory.
	Root string
	// Htpasswd is a file of users with bcrypt hashes; "" for none.
	Htpasswd string
	// Token says which tokens are trusted; none where Realm is "".
	Token Token
	// Verbose logs every request to standard error.
	Verbose bool
}

// Token is the configuration of Docker's token authentication.
type Token struct {
	// Realm is the URL of the token server, Service the audience and Issuer the
	// issuer of its tokens.
	Realm, Service, Issuer string
	// RootCert is a PEM file with the certificates that tokens are signed under.
	RootCert string
}

// Storage is the storage section of a registry's configuration, in the types
// that a version of distribution has for it: all have the same words.
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

// Authentication is the auth section, likewise; nil where everybody is let in.
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
