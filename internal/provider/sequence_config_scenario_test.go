package provider_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// copySettings are the arguments of a registry_image_copy.
type copySettings struct {
	source, target      tagAt
	pinned              string // digest of the source, "" to follow its tag
	sourceSpelling      int
	spelling            int // spelling of the target
	additional          []string
	platform            string // "" for the whole image
	overwrite           bool
	onDestroy           string
	createBeforeDestroy bool
}

// tags returns all tags that the settings declare.
func (s copySettings) tags() (tags []tagAt) {
	tags = []tagAt{s.target}
	for _, tag := range s.additional {
		tags = append(tags, tagAt{s.target.host, s.target.repo, tag})
	}
	return tags
}

func (s copySettings) String() string {
	return fmt.Sprintf("%s%s -> %s(%d)+%v platform=%q overwrite=%t on_destroy=%s cbd=%t",
		s.source, s.pinned, s.target, s.spelling, s.additional, s.platform, s.overwrite, s.onDestroy, s.createBeforeDestroy)
}

// settings is a configuration by resource name.
type settings map[string]copySettings

func (s settings) String() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		lines = append(lines, "    "+name+": "+s[name].String())
	}
	return strings.Join(lines, "\n")
}

const maxResources = 4

var policies = []string{"retain", "untag", "delete", "delete"}

func pick[T any](random *rand.Rand, all []T) T { return all[random.IntN(len(all))] }

// chance returns true with a probability of 1/n.
func chance(random *rand.Rand, n int) bool { return random.IntN(n) == 0 }

func randomTarget(random *rand.Rand) tagAt {
	return tagAt{random.IntN(4) / 3, pick(random, destinationRepos), pick(random, destinationTags)}
}

// randomSource returns a tag that other clients move. Usually it is in the source repository,
// otherwise in a destination repository.
func (w *fixture) randomSource(random *rand.Rand) tagAt {
	if at := (tagAt{random.IntN(len(w.hosts)), pick(random, destinationRepos), pick(random, unmanagedTags)}); chance(random, 5) && w.snapshot()[at] != "" {
		return at
	}
	return tagAt{random.IntN(len(w.hosts)), sourceRepo, pick(random, sourceTags)}
}

func (w *fixture) randomCopy(random *rand.Rand) copySettings {
	s := copySettings{
		source: w.randomSource(random), target: randomTarget(random), sourceSpelling: random.IntN(spellings), spelling: random.IntN(spellings),
		overwrite: !chance(random, 4), onDestroy: pick(random, policies), createBeforeDestroy: chance(random, 3),
	}
	s.additional = randomTags(random, s.target.tag)
	if chance(random, 4) {
		s.platform = "linux/amd64"
	}
	return s
}

// randomTags returns up to two additional tags.
func randomTags(random *rand.Rand, own string) (tags []string) {
	for _, tag := range destinationTags {
		if tag != own && chance(random, 5) && len(tags) < 2 {
			tags = append(tags, tag)
		}
	}
	return tags
}

// edit makes one random change to a configuration, and returns its description.
func (w *fixture) edit(random *rand.Rand, s settings) string {
	names := slices.Sorted(maps.Keys(s))
	if len(names) == 0 || len(names) < maxResources && chance(random, 4) {
		name := fmt.Sprintf("r%d", random.IntN(2*maxResources))
		if _, is := s[name]; !is {
			s[name] = w.randomCopy(random)
			return "add " + name
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	name := pick(random, names)
	one := s[name]
	edits := map[string]func(){
		"source": func() { one.source, one.pinned = w.randomSource(random), "" },
		"pin": func() {
			one.pinned = "@" + string(w.hosts[one.source.host].Digest(w.t, one.source.repo, one.source.tag))
		},
		"source spelling": func() { one.sourceSpelling = random.IntN(spellings) },
		"target":          func() { one.target = randomTarget(random); one.additional = randomTags(random, one.target.tag) },
		"target tag": func() {
			one.target.tag = pick(random, destinationTags)
			one.additional = withoutElement(one.additional, one.target.tag)
		},
		"target repo":     func() { one.target.repo = pick(random, destinationRepos) },
		"target host":     func() { one.target.host = random.IntN(len(w.hosts)) },
		"target spelling": func() { one.spelling = random.IntN(spellings) },
		"additional tags": func() { one.additional = randomTags(random, one.target.tag) },
		"platform":        func() { one.platform = map[string]string{"": "linux/amd64"}[one.platform] },
		"overwrite":       func() { one.overwrite = !one.overwrite },
		"on_destroy":      func() { one.onDestroy = pick(random, policies) },
		"cbd":             func() { one.createBeforeDestroy = !one.createBeforeDestroy },
	}
	switch random.IntN(8) {
	case 0:
		delete(s, name)
		return "remove " + name
	case 1:
		other := pick(random, names)
		s[name], s[other] = exchangeDestinations(s[name], s[other])
		return "exchange " + name + " and " + other
	case 2:
		delete(s, name)
		s[name+"x"] = one
		return "rename " + name
	}
	kinds := slices.Sorted(maps.Keys(edits))
	what := pick(random, append(kinds, "target", "target", "target repo", "source")) // the changes that matter most
	edits[what]()
	s[name] = one
	return what + " of " + name
}

// exchangeDestinations exchanges the destinations of two resources.
func exchangeDestinations(a, b copySettings) (copySettings, copySettings) {
	a.target, b.target = b.target, a.target
	a.spelling, b.spelling = b.spelling, a.spelling
	a.additional, b.additional = b.additional, a.additional
	return a, b
}

// hasConflict reports whether two resources declare the same tag with host spellings that
// cannot be identified as one host. The provider cannot detect that such a configuration is
// wrong.
func (s settings) hasConflict() bool {
	byTag := map[tagAt]copySettings{}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		for _, tag := range s[name].tags() {
			other, is := byTag[tag]
			if is && family(other.spelling) != family(s[name].spelling) && (other.source != s[name].source || other.pinned != s[name].pinned || other.platform != s[name].platform) {
				return true
			}
			byTag[tag] = s[name]
		}
	}
	return false
}

func (s copySettings) sourceReference(w *fixture) string {
	reference := w.reference(s.source, s.sourceSpelling)
	if s.pinned != "" {
		reference += s.pinned
	}
	return reference
}

// values returns the configuration as core evaluates it.
func (s settings) values(w *fixture, c *core) coreConfig {
	config := coreConfig{}
	for name, one := range s {
		value := object{}
		for attribute, of := range c.resource.AttributeTypes {
			value[attribute] = tftypes.NewValue(of, nil)
		}
		set := func(elements ...string) tftypes.Value {
			all := []tftypes.Value{}
			for _, element := range elements {
				all = append(all, tftypes.NewValue(tftypes.String, element))
			}
			return tftypes.NewValue(tftypes.Set{ElementType: tftypes.String}, all)
		}
		value["source"] = tftypes.NewValue(tftypes.String, one.sourceReference(w))
		value["destination"] = tftypes.NewValue(tftypes.String, w.reference(one.target, one.spelling))
		value["on_destroy"] = tftypes.NewValue(tftypes.String, one.onDestroy)
		if !one.overwrite {
			value["overwrite"] = tftypes.NewValue(tftypes.Bool, false)
		}
		if len(one.additional) > 0 {
			value["additional_tags"] = set(one.additional...)
		}
		if one.platform != "" {
			value["platforms"] = set(one.platform)
		}
		config[name] = coreResource{value: value, createBeforeDestroy: one.createBeforeDestroy}
	}
	return config
}

// blocks returns the configuration as HCL.
func (s settings) blocks(w *fixture) (blocks []string) {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		one := s[name]
		arguments := []string{fmt.Sprintf("overwrite = %t", one.overwrite), fmt.Sprintf("on_destroy = %q", one.onDestroy)}
		if len(one.additional) > 0 {
			arguments = append(arguments, "additional_tags = "+strings.ReplaceAll(fmt.Sprintf("%q", one.additional), `" "`, `", "`))
		}
		if one.platform != "" {
			arguments = append(arguments, fmt.Sprintf("platforms = [%q]", one.platform))
		}
		arguments = append(arguments, fmt.Sprintf("lifecycle {\n    create_before_destroy = %t\n  }", one.createBeforeDestroy))
		blocks = append(blocks, imageCopy(name, one.sourceReference(w), w.reference(one.target, one.spelling), arguments...))
	}
	return blocks
}
