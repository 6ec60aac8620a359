package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// ordinaryManifest is the size up to which manifests are read without charging the memory
// for manifests. Nearly all manifests are smaller.
const ordinaryManifest = 256 << 10

// memoryError is the error of a response that must be requested again when size bytes of
// memory are available. A request must not keep its slot while it waits for memory that
// other operations hold.
type memoryError struct{ size int64 }

func (e memoryError) Error() string {
	return fmt.Sprintf("the response needs %d bytes of memory for manifests", e.size)
}

// withMemory calls send with the charge of ctx, or with a new one that it releases
// afterwards. If send returns a memoryError, withMemory waits for the memory and calls send
// again. q is used for errors only.
func (r *repository) withMemory(ctx context.Context, q request, send func(*registry.Charge) error) error {
	charge := registry.ChargeOf(ctx)
	if charge == nil {
		charge = r.client.options.Memory.Charge(r.host.name, registry.FlowOf(ctx).String())
		defer charge.Release()
	}
	for {
		err := send(charge)
		need, ok := errors.AsType[memoryError](err)
		if !ok {
			return err
		}
		if err := charge.Grow(ctx, need.size); err != nil {
			return r.wrapRequest(q, err)
		}
	}
}

// readBody reads at most limit bytes of a response into memory. It charges memory before it
// reads more than ordinaryManifest bytes.
func (r *repository) readBody(resp *http.Response, limit int64, memory *registry.Charge) ([]byte, error) {
	size := min(resp.ContentLength, limit+1)
	var head []byte
	if size < 0 {
		var err error
		if head, err = registry.ReadLimited(resp.Body, min(ordinaryManifest, limit)); !errors.Is(err, registry.ErrLimit) {
			return head, err
		}
		size = limit
	}
	if size > ordinaryManifest && !memory.TryGrow(size) {
		return nil, permanent{memoryError{size}}
	}
	if size > ordinaryManifest && size == resp.ContentLength {
		content := make([]byte, size) // already charged
		_, err := io.ReadFull(resp.Body, content)
		return content, err
	}
	if len(head) == 0 {
		return registry.ReadLimited(resp.Body, limit)
	}
	return registry.ReadLimited(io.MultiReader(bytes.NewReader(head), resp.Body), limit)
}
