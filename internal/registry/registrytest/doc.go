// Package registrytest is for tests alone: it starts real registries, declares
// images, pushes and reads them without any code of the engine, and puts faults
// between a client and a registry.
//
// Start a registry. Each ends with its test:
//
//	reg := registrytest.V3(t)                                     // distribution v3, a child process
//	old := registrytest.V2(t, registrytest.Schema1())             // docker/distribution 2.8.3, likewise
//	own := registrytest.Scripted(t, registrytest.Behaviour{})     // in process: fast, and bends the rules
//	sec := registrytest.V3(t, registrytest.TLS(), registrytest.BasicAuth("ci", "secret"))
//	tok := registrytest.V3(t, registrytest.TokenAuth(registrytest.NewTokenServer(t)))
//
// Declare content and push it. The same declaration always gives the same
// bytes, and the manifests' JSON is written oddly on purpose, so that whoever
// serialises it again is noticed:
//
//	pushed := reg.Push(t, "acme/app", "1.4", registrytest.MultiArch("app"))
//	pushed.Digest, pushed.MediaType, pushed.Ref, pushed.Pinned
//
// Declare what refers to it, in the form that a registry wants, and signatures:
//
//	reg.Attach(t, "acme/app", registrytest.Artifact{Seed: "sbom", Subject: pushed})
//	key := registrytest.NewSigningKey(t)
//	signature := key.Sign(t, pushed)
//	reg.Attach(t, "acme/app", signature.Referrer)
//	reg.Push(t, "acme/app", signature.Tag, signature.Tagged)
//	key.VerifyReferrer(t, dst, "prod/app", pushed.Digest) // an error says what is wrong
//
// Read what is somewhere and compare; the reader checks every digest itself:
//
//	registrytest.Same(t, pushed.Tree, dst.Read(t, "prod/app", "1.4"))
//
// Look and change by plain HTTP: [Registry.Digest], [Registry.Tags],
// [Registry.Retag], [Registry.HasBlob], [Registry.DeleteTag],
// [Registry.DeleteManifest], [Registry.DeleteBlob], [Registry.Referrers], and
// [Registry.Get] for whatever else. They work with every registry, its authentication and TLS
// included, and go around the rules of a [Proxy] and, where the registry is in
// this process, around the network.
//
// Put faults in between and see what was asked:
//
//	p := registrytest.Intercept(t, reg)           // p.Addr and p.Ref are the proxy's
//	p := registrytest.Front(t, registrytest.Behaviour{}) // the same before a scripted one, and faster
//	p.On("GET", "/v2/acme/app/blobs/.*").Times(1).Cut(100)
//	p.On("PUT", "/v2/.*/manifests/.*").After(2).Reply(503, nil, "")
//	p.On(".*", ".*").After(7).Times(1).Refuse()   // the connection, of who connects by Dialer(p)
//	p.Requests(), p.Count("PUT", "/v2/.*"), p.Peak()
//	p.Wait(t, func() bool { return p.Active() == 3 })
//	p.Stop()                                      // connections are refused from now on
package registrytest
