package serve

import (
	"encoding/json"
	"maps"
	"net/http"
	"sync"
)

// countsPath is where the counts are, outside of the registry API.
const countsPath = "/requests"

// counter counts the requests of the handler that it wraps by method, each when
// it arrives, so that none is missing once its client has ended.
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
		c.tell(w)
		return
	}
	c.mu.Lock()
	c.counts[r.Method]++
	c.mu.Unlock()
	c.handler.ServeHTTP(w, r)
}

func (c *counter) tell(w http.ResponseWriter) {
	c.mu.Lock()
	counts := maps.Clone(c.counts)
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(counts) // who asks sees what is missing
}
