package provider_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// ownershipModel is a model of the changes that are allowed. It records which resource created
// or moved which tag, and checks every run by the tags before and after it:
//
//   - A tag is removed only by a resource that wrote its current content, no longer declares
//     it, and has an on_destroy other than "retain". It is never removed if another resource
//     uses it unchanged. If another resource writes it in the same apply, it may be removed
//     first, because Terraform destroys in any order.
//   - A tag is moved only to the planned digest of a resource that declares it. That resource may
//     overwrite the tag, or wrote its previous content.
//   - Every tag points to a complete image, whichever client wrote it.
//   - A resource removes old tags only when its new tags point to the new image.
//   - After a successful apply, all declared tags point to the planned digest.
type ownershipModel struct {
	w      *fixture
	owners map[tagAt]map[string]digest.Digest // digests that resources wrote, by resource name
	unseen bool                               // tags changed since the last refresh
	lost   map[string]bool                    // resources whose private state may be incomplete
}

// plannedCopy is the plan of one resource.
type plannedCopy struct {
	action   action
	digest   digest.Digest // planned digest
	promoted string        // promoted_reference, "" if it is unknown or missing
}

// storedCopy is an object in the state.
type storedCopy struct {
	onDestroy string
	digest    digest.Digest
	tags      []tagAt
	family    int // of the spelling of its host
	tainted   bool
}

// finishedRun is a plan and the result of its apply.
type finishedRun struct {
	config                    settings
	options                   planOptions
	planned                   map[string]plannedCopy
	storedBefore, storedAfter map[string][]storedCopy // the state before and after
	before, after             tagDigests
	writes                    []tagWrite
	err                       error
	interfered                map[tagAt]bool // tags that other clients changed between plan and apply
}

// remains reports whether a resource exists after the run.
func (r finishedRun) remains(name string) bool {
	_, is := r.config[name]
	return is && !r.options.destroy
}

// wants reports whether a resource of the configuration declares that a tag points to d.
func (r finishedRun) wants(name string, at tagAt, d digest.Digest) bool {
	return r.remains(name) && r.planned[name].digest == d && slices.Contains(r.config[name].tags(), at)
}

// check returns all changes of a run that are not allowed.
func (o *ownershipModel) check(r finishedRun) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for at, before := range r.before {
		if after := r.after[at]; after != before && !o.mayChange(r, at, before, after) {
			fault("%s held %s and holds %q now; written by resources: %v", at, o.w.names[before], o.w.name(after), o.ownerNames(at))
		}
	}
	complete := map[string]digest.Digest{}
	for at, d := range r.after {
		key := fmt.Sprint(at.host, at.repo, d)
		if _, is := complete[key]; !is {
			complete[key] = o.w.incomplete(at.host, at.repo, d)
		}
		if complete[key] != "" {
			fault("%s holds %s, of which %s is missing", at, o.w.name(d), o.w.name(complete[key]))
		}
	}
	for name := range r.config {
		if released := o.releasedTags(r, name); len(released) > 0 && !o.upToDate(r, name) {
			fault("%s removed %v before its new tags held the new image", name, released)
		}
		if r.err == nil && r.remains(name) && !o.unseen && !o.upToDate(r, name) {
			fault("%s was applied, and its tags do not hold %s", name, o.w.name(r.planned[name].digest))
		}
		if left := r.storedAfter[name]; r.err == nil && r.remains(name) && (len(left) == 0 || left[0].digest != r.planned[name].digest) {
			fault("%s was applied with %s, and the state has %v", name, o.w.name(r.planned[name].digest), left)
		}
	}
	return faults
}

func (w *fixture) name(d digest.Digest) string {
	if name := w.names[d]; name != "" {
		return name
	}
	return string(d)
}

func (o *ownershipModel) ownerNames(at tagAt) map[string]string {
	names := map[string]string{}
	for name, d := range o.owners[at] {
		names[name] = o.w.name(d)
	}
	return names
}

// mayChange reports whether a run may move or remove a tag.
func (o *ownershipModel) mayChange(r finishedRun, at tagAt, before, after digest.Digest) bool {
	if o.mayRemove(r, at, before) && after == "" {
		return true
	}
	for name, one := range r.config {
		mayMove := one.overwrite || o.owners[at][name] == before || o.mayRemove(r, at, before)
		if r.wants(name, at, after) && mayMove {
			return true
		}
	}
	return false
}

// mayRemove reports whether a run may remove a tag that points to d.
func (o *ownershipModel) mayRemove(r finishedRun, at tagAt, d digest.Digest) bool {
	for name, planned := range r.planned {
		if planned.action == noOp && r.wants(name, at, d) {
			return false
		}
	}
	for name, put := range o.owners[at] {
		declared := r.remains(name) && slices.Contains(r.config[name].tags(), at)
		policies := []string{}
		for _, stored := range r.storedBefore[name] {
			policies = append(policies, stored.onDestroy)
		}
		if r.remains(name) {
			policies = append(policies, r.config[name].onDestroy)
		}
		if put == d && !declared && slices.ContainsFunc(policies, func(policy string) bool { return policy != "retain" }) {
			return true
		}
	}
	return false
}

// releasedTags returns the removed tags that a remaining resource wrote and no longer declares.
func (o *ownershipModel) releasedTags(r finishedRun, name string) (tags []tagAt) {
	for at, owners := range o.owners {
		before, after := r.before[at], r.after[at]
		if r.remains(name) && before != "" && owners[name] == before && after == "" && !slices.Contains(r.config[name].tags(), at) && len(owners) == 1 {
			tags = append(tags, at)
		}
	}
	return tags
}

// upToDate reports whether all tags of a resource point to the planned digest. It ignores tags
// that other clients changed after the plan.
func (o *ownershipModel) upToDate(r finishedRun, name string) bool {
	for _, at := range r.config[name].tags() {
		if r.after[at] != r.planned[name].digest && !r.interfered[at] {
			return false
		}
	}
	return true
}

// update records the owners after a run.
func (o *ownershipModel) update(r finishedRun) {
	for name, planned := range r.planned {
		if planned.action == create { // the owner of a removed object's tags is unknown
			for _, owners := range o.owners {
				delete(owners, name)
			}
		}
		// The new object does not know what the old one wrote. Neither does an object on a host
		// with another name, which may be another registry.
		if planned.action == createThenDelete || hostRenamed(r.storedBefore[name], r.config[name]) {
			o.lost[name] = true
		}
	}
	for _, w := range r.writes {
		for name := range r.config {
			if r.wants(name, w.at, w.digest) {
				o.recordOwner(name, w.at, w.digest)
			}
		}
	}
	for at, owners := range o.owners {
		for old, d := range maps.Clone(owners) {
			if len(r.storedAfter[old]) > 0 {
				continue
			}
			// A renamed resource may keep its tags.
			for name := range r.config {
				if r.wants(name, at, d) {
					o.recordOwner(name, at, d)
					o.lost[name] = true
				}
			}
			delete(owners, old)
		}
	}
	for _, owners := range o.owners {
		for name := range maps.Clone(owners) {
			if len(r.storedAfter[name]) == 0 {
				delete(owners, name)
			}
		}
	}
}

func (o *ownershipModel) recordOwner(name string, at tagAt, d digest.Digest) {
	if o.owners[at] == nil {
		o.owners[at] = map[string]digest.Digest{}
	}
	o.owners[at][name] = d
}

// mayRefuse reports whether a configuration may be rejected: two resources concern the same
// tag, or a tag may not be overwritten.
func (o *ownershipModel) mayRefuse(config settings, options planOptions, stored map[string][]storedCopy, now tagDigests) bool {
	concerned := map[tagAt]string{}
	for name, one := range config {
		for _, at := range one.tags() {
			if concerned[at] != "" || !one.overwrite && now[at] != "" && (o.owners[at][name] != now[at] || o.isUnrecorded(name, one, options, stored)) {
				return true
			}
			concerned[at] = name
		}
	}
	isOthers := func(name string, at tagAt) bool { return concerned[at] != "" && concerned[at] != name }
	for name, all := range stored {
		for at, owners := range o.owners {
			if _, is := owners[name]; is && isOthers(name, at) {
				return true
			}
		}
		for _, one := range all {
			if slices.ContainsFunc(one.tags, func(at tagAt) bool { return isOthers(name, at) }) {
				return true
			}
		}
	}
	return false
}

// forget records that the private state may be incomplete, because the process was killed
// before it returned.
func (o *ownershipModel) forget(config settings) {
	for name := range config {
		o.lost[name] = true
	}
}

// isUnrecorded reports whether the provider does not know what a resource wrote. The private
// state was lost, it does not reach the new object in this kind of replacement, or the host has
// another name and may be another registry.
func (o *ownershipModel) isUnrecorded(name string, one copySettings, options planOptions, stored map[string][]storedCopy) bool {
	all := stored[name]
	tainted := len(all) > 0 && all[0].tainted
	moved := len(all) > 0 && all[0].tags[0] != one.target
	return o.lost[name] || hostRenamed(all, one) || len(all) > 1 || one.createBeforeDestroy && (tainted || options.replace == name) || tainted && (options.noRefresh || moved)
}

// hostRenamed reports whether settings use a host spelling that cannot be identified with that
// of a stored object.
func hostRenamed(stored []storedCopy, one copySettings) bool {
	return len(stored) > 0 && stored[0].family != family(one.spelling)
}

// wrongPromotions returns the planned values of promoted_reference whose content is incomplete.
func (o *ownershipModel) wrongPromotions(planned map[string]plannedCopy) (faults []string) {
	for name, one := range planned {
		reference, pinned, is := strings.Cut(one.promoted, "@")
		if !is {
			continue
		}
		at := o.w.parseTag(reference)
		if missing := o.w.incomplete(at.host, at.repo, digest.Digest(pinned)); missing != "" {
			faults = append(faults, fmt.Sprintf("%s: promoted_reference is planned as %s, of which %s is missing", name, one.promoted, o.w.name(missing)))
		}
	}
	return faults
}
