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

// unknownMembers has the members of an object without a field of their own, as raw JSON.
// Decoding them would take many times as much memory.
type unknownMembers = jsontext.Value

// wireManifest has every field that references content in any known kind of
// manifest. The types of image-spec are not used, because they do not retain
// unknown keys.
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
	Others       unknownMembers    `json:",embed"`
}

// wireDescriptor is the JSON form of Descriptor.
type wireDescriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       digest.Digest     `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls"`
	Annotations  map[string]string `json:"annotations"`
	Data         []byte            `json:"data"`
	Platform     *wirePlatform     `json:"platform"`
	ArtifactType string            `json:"artifactType"`
	Others       unknownMembers    `json:",embed"`
}

// wirePlatform is the JSON form of Platform.
type wirePlatform struct {
	ocispec.Platform
	Others unknownMembers `json:",embed"`
}

// wireFSLayer is a layer of a schema 1 manifest.
type wireFSLayer struct {
	BlobSum digest.Digest  `json:"blobSum"`
	Others  unknownMembers `json:",embed"`
}

var (
	wireManifestKeys   = strings.Fields("schemaVersion mediaType artifactType annotations subject config layers blobs manifests fsLayers signatures")
	wireDescriptorKeys = strings.Fields("mediaType digest size urls annotations data platform artifactType")
	wirePlatformKeys   = strings.Fields("architecture os os.version os.features variant")
	wireFSLayerKeys    = strings.Fields("blobSum")
)

// contents returns the decoded manifest in the types of the specification.
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
			return Contents{}, fault.inPart(one.name, one.from.Digest)
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
				return Contents{}, fault.inPart(fmt.Sprintf("%s[%d]", list.name, i), list.from[i].Digest)
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
			return Contents{}, newFault(ErrInvalidManifest, "%s", why).inPart(fmt.Sprintf("fsLayers[%d]", i), layer.BlobSum)
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

// ambiguous returns how a manifest can be interpreted as another kind than its
// media type, or as several kinds if the media type is unknown. It returns "" if
// there is only one interpretation. An empty list counts as a field; null does not.
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

// resemblesManifest reports whether content is an object with at least one field of
// a manifest. It does not validate the manifest; see Manifest.Parse.
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
		_ = d.SkipValue() // if it fails, the next ReadToken fails too
	}
}

// caseVariant returns an error text if a key differs from a known one only in case,
// and "" otherwise. Go's encoding/json, and so most registries and runtimes, would
// treat it as the known key, while other parsers would ignore it.
func caseVariant(members unknownMembers, known []string) string {
	d := jsontext.NewDecoder(bytes.NewBuffer(members), jsontext.AllowDuplicateNames(true))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return "" // the end, because decode has parsed all members before
		}
		if token.Kind() != '"' {
			continue // a brace of the object itself
		}
		key := token.String()
		for _, k := range known {
			if key != k && strings.EqualFold(key, k) {
				return fmt.Sprintf("it has the key %q, which some clients take for %q", Sanitize(key), k)
			}
		}
		_ = d.SkipValue() // if it fails, the next ReadToken fails too
	}
}

// decode decodes a JSON object into v. It returns why the object is invalid, or "" if it is
// valid. Duplicate keys and invalid UTF-8 are errors, keys are case-sensitive, and the
// nesting is limited.
func decode(content []byte, v any) string {
	if !bytes.HasPrefix(bytes.TrimLeft(content, " \t\r\n"), []byte("{")) {
		return "it is not a JSON object" // because null decodes like an empty object
	}
	err := json.Unmarshal(content, v)
	if err == nil {
		return ""
	}
	if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
		// The text of err mentions Go types.
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
	// maxEntries is how many descriptors a manifest may have. Images have at most
	// some hundred layers, and indexes some hundred children. More may be an
	// attempt to exhaust memory.
	maxEntries = 10_000
	// maxTokens is how many names, values, brackets and braces a manifest may have:
	// 20 for each of maxEntries descriptors, which is more than most have.
	maxTokens = 20 * maxEntries
)

// countEntries returns an error text if a manifest has more than maxEntries entries
// in a list or an object, or more than maxTokens tokens, and "" otherwise. It
// allocates nothing for the entries.
func countEntries(content []byte) string {
	// Detecting duplicate names would need memory, and decode detects them.
	d := jsontext.NewDecoder(bytes.NewBuffer(content), jsontext.AllowDuplicateNames(true))
	for tokens := 0; ; tokens++ {
		if _, err := d.ReadToken(); err != nil {
			// decode reports the syntax error.
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
