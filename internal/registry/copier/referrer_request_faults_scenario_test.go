package copier_test

import (
	"context"
	"errors"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// referrerFixture is a fixture whose image has a signature and an attestation that is found by
// its tag, so that it covers every mechanism to find and publish referrers.
type referrerFixture struct {
	fixture
	signature registrytest.Pushed
	tag       string
	key       registrytest.SigningKey
}

func newReferrerFixture(t *testing.T) referrerFixture {
	t.Helper()
	image := registrytest.Image{Seed: "new", Layers: []registrytest.Blob{registrytest.Layer("new", 3000)}}
	w := referrerFixture{fixture: fixture{from: newAuthProxy(t), to: newAuthProxy(t)}, key: registrytest.NewSigningKey(t)}
	w.image = w.from.Push(t, "app", "1", image)
	w.signature = w.from.Attach(t, "app", w.key.Sign(t, image).Referrer)
	w.tag = legacyTag(w.image.Digest, "att")
	w.from.Push(t, "app", w.tag, registrytest.Artifact{Seed: "attestation", Type: "application/vnd.dsse.envelope.v1+json"})
	return w
}

// assertComplete fails the test unless the destination has the image and its referrers.
func (w referrerFixture) assertComplete(t *testing.T) {
	t.Helper()
	registrytest.Same(t, w.image.Tree, w.to.Read(t, "to", "1"))
	if err := w.key.VerifyReferrer(t, w.to.Registry, "to", w.image.Digest); err != nil {
		t.Error(err)
	}
	if !w.to.HasManifest(t, "to", w.tag) {
		t.Errorf("destination does not have the referrer with the tag %s", w.tag)
	}
}

// forEachReferrerRequest is like forEachRequest for a copy of an image with referrers.
func forEachReferrerRequest(t *testing.T, faults map[string]fault, test func(t *testing.T, f fault, side registry.Side, k int)) {
	clean := newReferrerFixture(t)
	clean.engine(t, 1).copy(t, clean.source(), clean.destination(), withReferrers())
	clean.assertComplete(t)
	clean.forEachRequest(t, faults, test)
}

func TestCopyReferrers_RetriesEachRequest(t *testing.T) {
	t.Parallel()
	forEachReferrerRequest(t, faults, func(t *testing.T, f fault, side registry.Side, k int) {
		t.Parallel()
		w := newReferrerFixture(t)
		p := w.side(side)
		f.inject(p.On(f.method, f.path).After(k).Times(1), p)
		w.engine(t, 2).copy(t, w.source(), w.destination(), withReferrers())
		w.assertComplete(t)
	})
}

func TestCopyReferrers_FailAtEachRequest(t *testing.T) {
	t.Parallel()
	forEachReferrerRequest(t, faults, func(t *testing.T, f fault, side registry.Side, k int) {
		t.Parallel()
		w := newReferrerFixture(t)
		old := w.to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
		p := w.side(side)
		f.inject(p.On(f.method, f.path).After(k), p)
		w.engine(t, 2).copyError(t, w.source(), w.destination(), side, f.kind, withReferrers())
		w.waitIdle(t)
		if current := w.to.Digest(t, "to", "1"); current != old.Digest && (current != w.image.Digest || !w.hasReferrers(t)) {
			t.Errorf("tag has digest %s before the referrers exist, want %s", current, old.Digest)
		}
		p.Clear()
		before := uploads(w.to)
		w.engine(t, 1).copy(t, w.source(), w.destination(), withReferrers())
		w.assertComplete(t)
		w.assertNotResent(t, before)
	})
}

// hasReferrers reports whether the destination has all referrers of the image. Only then may
// the tag be written.
func (w referrerFixture) hasReferrers(t *testing.T) bool {
	listed := w.to.Referrers(t, "to", w.image.Digest)
	return len(listed) == 1 && listed[0] == w.signature.Digest && w.to.HasManifest(t, "to", w.tag)
}

func TestCopyReferrers_CancelAtEachRequest(t *testing.T) {
	stalls := map[string]fault{"no_response": stallFaults["no_response"]}
	forEachReferrerRequest(t, stalls, func(t *testing.T, f fault, side registry.Side, k int) {
		registrytest.NoLeaks(t)
		w := newReferrerFixture(t)
		old := w.to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
		p := w.side(side)
		rule := p.On(f.method, f.path).After(k).Times(1)
		f.inject(rule, p)
		e := w.engine(t, 2)
		job := e.job(t, w.source(), w.destination())
		withReferrers()(&job)
		ctx, cancel := context.WithCancel(t.Context())
		done := e.start(ctx, job)
		p.Wait(t, func() bool { return rule.Taken() == 1 })
		cancel()
		if r := await(t, done); !errors.Is(r.err, context.Canceled) {
			t.Errorf("Copy() error = %v, want context.Canceled", r.err)
		}
		w.waitIdle(t)
		if current := w.to.Digest(t, "to", "1"); current != old.Digest && !w.hasReferrers(t) {
			t.Errorf("tag has digest %s before the referrers exist, want %s", current, old.Digest)
		}
	})
}
