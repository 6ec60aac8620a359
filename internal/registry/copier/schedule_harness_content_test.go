package copier_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// simObject is a blob or manifest of the simulated registries.
type simObject struct {
	digest    digest.Digest
	mediaType string
	content   []byte
	manifest  bool
	needs     []*simObject // what a manifest references
}

// simContents stores every object by its digest. All schedules share the same objects, because
// creating and hashing them costs more than copying them.
type simContents struct {
	mu       sync.Mutex
	byDigest map[digest.Digest]*simObject
}

var simObjects = simContents{byDigest: map[digest.Digest]*simObject{}}

func (c *simContents) add(o *simObject) *simObject {
	o.digest = digest.FromBytes(o.content)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byDigest[o.digest] = o
	return o
}

func (c *simContents) get(d digest.Digest) *simObject {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byDigest[d]
}

// simLayer returns a layer of size bytes. Its content depends on seed.
func simLayer(seed string, size int) *simObject {
	content := make([]byte, size)
	random := rand.NewChaCha8(digestKey(seed))
	_, _ = random.Read(content)
	return simObjects.add(&simObject{mediaType: ocispec.MediaTypeImageLayerGzip, content: content})
}

func digestKey(seed string) (key [32]byte) {
	copy(key[:], digest.FromString(seed).Encoded())
	return key
}

// simImage returns an image of layers. Its manifest has padding additional bytes.
func simImage(seed string, padding int, layers ...*simObject) *simObject {
	config := simObjects.add(&simObject{mediaType: ocispec.MediaTypeImageConfig,
		content: fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","config":{"Labels":{"seed":%q}},"rootfs":{"type":"layers","diff_ids":[]}}`, seed)})
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: descriptorOf(config), Layers: []ocispec.Descriptor{}, Annotations: simPadding(padding),
	}
	for _, layer := range layers {
		m.Layers = append(m.Layers, descriptorOf(layer))
	}
	return simManifest(m.MediaType, m, append([]*simObject{config}, layers...))
}

// simIndex returns an index of manifests. Like in simImage, it has padding additional bytes.
func simIndex(padding int, children ...*simObject) *simObject {
	i := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Annotations: simPadding(padding)}
	for _, child := range children {
		i.Manifests = append(i.Manifests, descriptorOf(child))
	}
	return simManifest(i.MediaType, i, children)
}

// simNested returns an image of layers below two indexes, with 960 KB of manifests that the client
// has to read sequentially.
func simNested(seed string, layers ...*simObject) *simObject {
	return simIndex(480_000, simIndex(240_000, simImage(seed, 240_000, layers...)))
}

func simManifest(mediaType string, document any, needs []*simObject) *simObject {
	content, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	return simObjects.add(&simObject{mediaType: mediaType, content: content, manifest: true, needs: needs})
}

func simPadding(n int) map[string]string {
	if n == 0 {
		return nil
	}
	return map[string]string{"com.example.padding": strings.Repeat("x", n)}
}

func descriptorOf(o *simObject) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: o.mediaType, Digest: o.digest, Size: int64(len(o.content))}
}

// all calls visit with the object and everything below it.
func (o *simObject) all(visit func(*simObject)) {
	visit(o)
	for _, child := range o.needs {
		child.all(visit)
	}
}

// simImages returns the images that random schedules copy: ordinary ones that share base layers,
// wide ones with many layers, and ones with large manifests.
var simImages = sync.OnceValue(func() (images struct{ ordinary, wide, large []*simObject }) {
	random := rand.New(rand.NewPCG(1, 1))
	var bases []*simObject
	for i, size := range []int{160 << 10, 256 << 10, 400 << 10, 640 << 10} {
		bases = append(bases, simLayer(fmt.Sprint("base ", i), size))
	}
	layersOf := func(seed string) (layers []*simObject) {
		if random.IntN(5) > 0 {
			layers = append(layers, bases[random.IntN(len(bases))])
		}
		for i := range 1 + random.IntN(4) {
			layers = append(layers, simLayer(fmt.Sprint(seed, i), int(logUniform(random, 16, 640<<10))))
		}
		return layers
	}
	for i := range 64 {
		seed := fmt.Sprint("image ", i)
		images.ordinary = append(images.ordinary, simImage(seed, 0, layersOf(seed)...))
	}
	for i := range 8 {
		seed := fmt.Sprint("wide image ", i)
		layers := []*simObject{bases[i%len(bases)]}
		for j := range 10 + random.IntN(15) {
			layers = append(layers, simLayer(fmt.Sprint(seed, j), int(logUniform(random, 4<<10, 40<<10))))
		}
		images.wide = append(images.wide, simImage(seed, 0, layers...))
	}
	for i := range 4 {
		seed := fmt.Sprint("large image ", i)
		images.large = append(images.large, simNested(seed, layersOf(seed)[:1]...))
		var children []*simObject
		for j := range 3 {
			childSeed := fmt.Sprint(seed, j)
			children = append(children, simImage(childSeed, 220<<10, layersOf(childSeed)[:1]...))
		}
		images.large = append(images.large, simIndex(0, children...))
	}
	return images
})

// logUniform returns a number between low and high whose logarithm is uniform.
func logUniform(random *rand.Rand, low, high float64) float64 {
	return low * math.Pow(high/low, random.Float64())
}
