package serve

import (
	"encoding/json"
	"maps"
	"net/http"
	"sync"
)

// countsPath is the path of the counts, which is not part of the registry API.
const countsPath = "/requests"

// counter wraps a handler and counts its requests by method. It counts a request when it
// arrives, so that the counts are complete when the client has exited.
type counter struct {
	handler http.Handler
	mu      sync.Mutex
	counts  map[string]int
}

func count(handler http.Handler) http.Handler {
	return &counter{handler: handler, counts: map[string]int{}}
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == countsPath {
		c.writeCounts(w)
		return
	}
	c.mu.Lock()
	c.counts[r.Method]++
	c.mu.Unlock()
	c.handler.ServeHTTP(w, r)
}

func (c *counter) writeCounts(w http.ResponseWriter) {
	c.mu.Lock()
	counts := maps.Clone(c.counts)
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(counts) // the client notices an incomplete response
}
