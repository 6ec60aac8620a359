// Package registrytest provides registries and content for tests. It starts real registries,
// declares images, pushes and reads them without using the code under test, and injects faults
// between a client and a registry.
//
// Start a registry. It stops at the end of its test:
//
//	reg := registrytest.V3(t)                                     // distribution v3, a child process
//	old := registrytest.V2(t, registrytest.Schema1())             // docker/distribution 2.8.3, a child process
//	own := registrytest.Scripted(t, registrytest.Behaviour{})     // in this process: fast and configurable
//	sec := registrytest.V3(t, registrytest.TLS(), registrytest.BasicAuth("ci", "secret"))
//	tok := registrytest.V3(t, registrytest.TokenAuth(registrytest.NewTokenServer(t)))
//
// Declare content and push it. The same declaration always produces the same bytes. The JSON of
// manifests is formatted unusually, so that a test notices a client that serializes a manifest
// again:
//
//	pushed := reg.Push(t, "acme/app", "1.4", registrytest.MultiArch("app"))
//	pushed.Digest, pushed.MediaType, pushed.Ref, pushed.Pinned
//
// Declare referrers, which Attach publishes as the registry requires, and signatures:
//
//	reg.Attach(t, "acme/app", registrytest.Artifact{Seed: "sbom", Subject: pushed})
//	key := registrytest.NewSigningKey(t)
//	signature := key.Sign(t, pushed)
//	reg.Attach(t, "acme/app", signature.Referrer)
//	reg.Push(t, "acme/app", signature.Tag, signature.Tagged)
//	key.VerifyReferrer(t, dst, "prod/app", pushed.Digest) // returns an error if there is no valid signature
//
// Read content and compare it. The reader verifies every digest:
//
//	registrytest.Same(t, pushed.Tree, dst.Read(t, "prod/app", "1.4"))
//
// Inspect and change content over plain HTTP with [Registry.Digest], [Registry.Tags],
// [Registry.Retag], [Registry.HasBlob], [Registry.DeleteTag], [Registry.DeleteManifest],
// [Registry.DeleteBlob], [Registry.Referrers] and [Registry.Get]. These methods work with every
// registry, including its authentication and TLS. They bypass the rules of a [Proxy] and, if
// the registry runs in this process, the network.
//
// Inject faults and inspect requests:
//
//	p := registrytest.Intercept(t, reg)           // p.Addr and p.Ref are those of the proxy
//	p := registrytest.Front(t, registrytest.Behaviour{}) // the same for a scripted registry, but faster
//	p.On("GET", "/v2/acme/app/blobs/.*").Times(1).Cut(100)
//	p.On("PUT", "/v2/.*/manifests/.*").After(2).Reply(503, nil, "")
//	p.On(".*", ".*").After(7).Times(1).Refuse()   // refuses a connection of a client that uses Dialer(p)
//	p.Requests(), p.Count("PUT", "/v2/.*"), p.Peak()
//	p.Wait(t, func() bool { return p.Active() == 3 })
//	p.Stop()                                      // refuses connections from now on
package registrytest
