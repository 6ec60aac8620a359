package registry

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// others is an object of the members that have no field of their own, as they
// came: to take them apart would cost many times their size.
type others = jsontext.Value

// wireManifest has every field by which a manifest of any known kind names
// something. The wire types stand beside those of the specification so that
// keys which are none of its own can be looked at.
type wireManifest struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations"`
	Subject      *wireDescriptor   `json:"subject"`
	Config       *wireDescriptor   `json:"config"`
	Layers       []wireDescriptor  `json:"layers"`
	Blobs        []wireDescriptor  `json:"blobs"`
	Manifests    []wireDescriptor  `json:"manifests"`
	FSLayers     []wireFSLayer     `json:"fsLayers"`
	Others       others            `json:",embed"`
}

// wireDescriptor is a Descriptor as it comes.
type wireDescriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       digest.Digest     `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls"`
	Annotations  map[string]string `json:"annotations"`
	Data         []byte            `json:"data"`
	Platform     *wirePlatform     `json:"platform"`
	ArtifactType string            `json:"artifactType"`
	Others       others            `json:",embed"`
}

// wirePlatform is a Platform as it comes.
type wirePlatform struct {
	ocispec.Platform
	Others others `json:",embed"`
}

// wireFSLayer is a layer of a schema 1 manifest.
type wireFSLayer struct {
	BlobSum digest.Digest `json:"blobSum"`
	Others  others        `json:",embed"`
}

var (
	wireManifestKeys   = strings.Fields("schemaVersion mediaType artifactType annotations subject config layers blobs manifests fsLayers signatures")
	wireDescriptorKeys = strings.Fields("mediaType digest size urls annotations data platform artifactType")
	wirePlatformKeys   = strings.Fields("architecture os os.version os.features variant")
	wireFSLayerKeys    = strings.Fields("blobSum")
)

// contents is what was decoded, in the terms of the specification.
func (wire wireManifest) contents() (Contents, *Error) {
	c := Contents{ArtifactType: wire.ArtifactType, Annotations: wire.Annotations}
	for _, one := range []struct {
		name string
		from *wireDescriptor
		to   **Descriptor
	}{{"subject", wire.Subject, &c.Subject}, {"config", wire.Config, &c.Config}} {
		if one.from == nil {
			continue
		}
		d, fault := one.from.descriptor()
		if fault != nil {
			return Contents{}, fault.in(one.name, one.from.Digest)
		}
		*one.to = &d
	}
	for _, list := range []struct {
		name string
		from []wireDescriptor
		to   *[]Descriptor
	}{{"layers", wire.Layers, &c.Layers}, {"blobs", wire.Blobs, &c.Layers}, {"manifests", wire.Manifests, &c.Manifests}} {
		for i := range list.from {
			d, fault := list.from[i].descriptor()
			if fault != nil {
				return Contents{}, fault.in(fmt.Sprintf("%s[%d]", list.name, i), list.from[i].Digest)
			}
			*list.to = append(*list.to, d)
		}
	}
	for i, layer := range wire.FSLayers {
		why := caseVariant(layer.Others, wireFSLayerKeys)
		if why == "" {
			why = digestFault(layer.BlobSum)
		}
		if why != "" {
			return Contents{}, newFault(ErrInvalidManifest, "%s", why).in(fmt.Sprintf("fsLayers[%d]", i), layer.BlobSum)
		}
		c.Layers = append(c.Layers, Descriptor{Digest: layer.BlobSum, Size: SizeUnknown})
	}
	return c, nil
}

func (wire *wireDescriptor) descriptor() (Descriptor, *Error) {
	if why := caseVariant(wire.Others, wireDescriptorKeys); why != "" {
		return Descriptor{}, newFault(ErrInvalidManifest, "%s", why)
	}
	d := Descriptor{
		MediaType: wire.MediaType, Digest: wire.Digest, Size: wire.Size, URLs: wire.URLs,
		Annotations: wire.Annotations, Data: wire.Data, ArtifactType: wire.ArtifactType,
	}
	if wire.Platform != nil {
		if why := caseVariant(wire.Platform.Others, wirePlatformKeys); why != "" {
			return Descriptor{}, newFault(ErrInvalidManifest, "%s", why)
		}
		d.Platform = &wire.Platform.Platform
	}
	return d, descriptorFault(d)
}

// ambiguous says in what way a manifest can be taken for another kind than its
// media type, or for several where that is an unknown one; "" where it cannot.
// Only null and absence are unambiguous: an empty list is a field too.
func ambiguous(mediaType string, wire wireManifest) string {
	const index, image, schema1 = "an index", "an image", "a schema 1 image"
	var has []string
	if wire.Manifests != nil {
		has = append(has, index)
	}
	if wire.Config != nil || wire.Layers != nil || wire.Blobs != nil {
		has = append(has, image)
	}
	if wire.FSLayers != nil {
		has = append(has, schema1)
	}
	var declared string
	switch {
	case IsIndex(mediaType):
		declared = index
	case IsSchema1(mediaType):
		declared = schema1
	case IsManifest(mediaType):
		declared = image
	case len(has) > 1:
		return "it has the fields of " + strings.Join(has, " and of ")
	default:
		return ""
	}
	for _, kind := range has {
		if kind != declared {
			return fmt.Sprintf("it is %s by its media type and has the fields of %s", declared, kind)
		}
	}
	return ""
}

// resemblesManifest says whether content is an object with at least one of the
// fields of a manifest. Whether it is a sound one is for Parse to say.
func resemblesManifest(content []byte) bool {
	d := jsontext.NewDecoder(bytes.NewBuffer(content), jsontext.AllowDuplicateNames(true))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return false
	}
	for {
		name, err := d.ReadToken()
		if err != nil || name.Kind() != '"' {
			return false
		}
		if slices.Contains(wireManifestKeys, name.String()) {
			return true
		}
		_ = d.SkipValue() // the next token fails too
	}
}

// caseVariant refuses a key that differs from a known one in case alone: Go's
// own decoder, and so most registries and runtimes, would take it for the known
// one while others would not see it.
func caseVariant(members others, known []string) string {
	d := jsontext.NewDecoder(bytes.NewBuffer(members), jsontext.AllowDuplicateNames(true))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return "" // the end: decode has read it all before
		}
		if token.Kind() != '"' {
			continue // the object's own braces
		}
		key := token.String()
		for _, k := range known {
			if key != k && strings.EqualFold(key, k) {
				return fmt.Sprintf("it has the key %q, which some clients take for %q", Sanitize(key), k)
			}
		}
		_ = d.SkipValue() // the next token fails too
	}
}

// decode reads a JSON object that somebody else wrote, and says what is wrong
// with it, "" where nothing is. Duplicate keys and invalid UTF-8 are faults,
// keys match in their own case only, nesting is bounded.
func decode(content []byte, v any) string {
	if !bytes.HasPrefix(bytes.TrimLeft(content, " \t\r\n"), []byte("{")) {
		return "it is not a JSON object" // null would be taken for an empty one
	}
	err := json.Unmarshal(content, v)
	if err == nil {
		return ""
	}
	if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
		// Its own text speaks of Go types.
		found := Sanitize(string(wrong.JSONValue))
		if found == "" {
			found = kindNames[wrong.JSONKind]
		}
		return fmt.Sprintf("%q in it cannot be %s", Sanitize(string(wrong.JSONPointer)), found)
	}
	return "it is not valid JSON: " + Sanitize(strings.TrimPrefix(err.Error(), "jsontext: "))
}

var kindNames = map[jsontext.Kind]string{
	'{': "an object", '[': "a list", '"': "a string", '0': "a number", 't': "true", 'f': "false", 'n': "null", 0: "what it is",
}

const (
	// maxEntries is how many descriptors one manifest may name. Images have at
	// most some hundred layers and indexes some hundred children; beyond this
	// somebody wants memory.
	maxEntries = 10_000
	// maxTokens is how many names, values, brackets and braces it may have: 20
	// for each descriptor of that many, which is more than most have.
	maxTokens = 20 * maxEntries
)

// countEntries refuses a manifest that names more than maxEntries things, or is
// otherwise made of too many, before anything is allocated for them, and says
// so; "" where it does not.
func countEntries(content []byte) string {
	// To remember names would need memory, and decode looks for duplicates.
	d := jsontext.NewDecoder(bytes.NewBuffer(content), jsontext.AllowDuplicateNames(true))
	for tokens := 0; ; tokens++ {
		if _, err := d.ReadToken(); err != nil {
			// Not for this function to report: decode says what is wrong.
			return ""
		}
		if tokens == maxTokens {
			return fmt.Sprintf("it has more than %d names and values", maxTokens)
		}
		if depth := d.StackDepth(); depth > 0 {
			if kind, length := d.StackIndex(depth); kind == '[' && length > maxEntries {
				return fmt.Sprintf("it has a list of more than %d entries", maxEntries)
			} else if kind == '{' && length > 2*maxEntries {
				return fmt.Sprintf("it has an object of more than %d members", maxEntries)
			}
		}
	}
}
