package copier_test

import (
	"context"
	"errors"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry/registrytest"
)

// attested is a world with an image, a signature of it, and an attestation under a
// tag: all ways in which what refers to an image is found and made to be found.
type attested struct {
	world
	signature registrytest.Pushed
	tag       string
	key       registrytest.SigningKey
}

func newAttested(t *testing.T) attested {
	t.Helper()
	image := registrytest.Image{Seed: "new", Layers: []registrytest.Blob{registrytest.Layer("new", 3000)}}
	w := attested{world: world{from: guarded(t), to: guarded(t)}, key: registrytest.NewSigningKey(t)}
	w.image = w.from.Push(t, "app", "1", image)
	w.signature = w.from.Attach(t, "app", w.key.Sign(t, image).Referrer)
	w.tag = legacyTag(w.image.Digest, "att")
	w.from.Push(t, "app", w.tag, registrytest.Artifact{Seed: "attestation", Type: "application/vnd.dsse.envelope.v1+json"})
	return w
}

// whole wants all of it to be at the destination.
func (w attested) whole(t *testing.T) {
	t.Helper()
	registrytest.Same(t, w.image.Tree, w.to.Read(t, "to", "1"))
	if err := w.key.VerifyReferrer(t, w.to.Registry, "to", w.image.Digest); err != nil {
		t.Error(err)
	}
	if !w.to.HasManifest(t, "to", w.tag) {
		t.Error("what is found by a tag is not there")
	}
}

// eachReferrerRequest is eachRequest for what refers to an image.
func eachReferrerRequest(t *testing.T, faults map[string]fault, test func(t *testing.T, f fault, side registry.Side, k int)) {
	undisturbed := newAttested(t)
	undisturbed.engine(t, 1).copy(t, undisturbed.source(), undisturbed.destination(), withReferrers())
	undisturbed.whole(t)
	undisturbed.eachRequest(t, faults, test)
}

func TestCopyReferrers_RetriesEachRequest(t *testing.T) {
	t.Parallel()
	eachReferrerRequest(t, faults, func(t *testing.T, f fault, side registry.Side, k int) {
		t.Parallel()
		w := newAttested(t)
		p := w.at(side)
		f.happen(p.On(f.method, f.path).After(k).Times(1), p)
		w.engine(t, 2).copy(t, w.source(), w.destination(), withReferrers())
		w.whole(t)
	})
}

func TestCopyReferrers_FailAtEachRequest(t *testing.T) {
	t.Parallel()
	eachReferrerRequest(t, faults, func(t *testing.T, f fault, side registry.Side, k int) {
		t.Parallel()
		w := newAttested(t)
		old := w.to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
		p := w.at(side)
		f.happen(p.On(f.method, f.path).After(k), p)
		w.engine(t, 2).refused(t, w.source(), w.destination(), side, f.kind, withReferrers())
		w.rests(t)
		if held := w.to.Digest(t, "to", "1"); held != old.Digest && (held != w.image.Digest || !w.found(t)) {
			t.Errorf("the tag holds %s", held)
		}
		p.Clear()
		before := uploads(w.to)
		w.engine(t, 1).copy(t, w.source(), w.destination(), withReferrers())
		w.whole(t)
		w.sentOnce(t, before)
	})
}

// found says whether all that refers to the image is there: the tag may be written
// only then, also where the answer to that was lost.
func (w attested) found(t *testing.T) bool {
	listed := w.to.Referrers(t, "to", w.image.Digest)
	return len(listed) == 1 && listed[0] == w.signature.Digest && w.to.HasManifest(t, "to", w.tag)
}

func TestCopyReferrers_CancelAtEachRequest(t *testing.T) {
	stalls := map[string]fault{"no answer": hindrances["no answer"]}
	eachReferrerRequest(t, stalls, func(t *testing.T, f fault, side registry.Side, k int) {
		registrytest.NoLeaks(t)
		w := newAttested(t)
		old := w.to.Push(t, "to", "1", registrytest.Image{Seed: "old"})
		p := w.at(side)
		rule := p.On(f.method, f.path).After(k).Times(1)
		f.happen(rule, p)
		e := w.engine(t, 2)
		job := e.job(t, w.source(), w.destination())
		withReferrers()(&job)
		ctx, cancel := context.WithCancel(t.Context())
		ended := e.start(ctx, job)
		p.Wait(t, func() bool { return rule.Taken() == 1 })
		cancel()
		if r := await(t, ended); !errors.Is(r.err, context.Canceled) {
			t.Errorf("the error is not that of the context: %v", r.err)
		}
		w.rests(t)
		if held := w.to.Digest(t, "to", "1"); held != old.Digest && !w.found(t) {
			t.Errorf("the tag holds %s", held)
		}
	})
}
