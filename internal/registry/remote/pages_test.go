package remote_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/terraform-provider-registry/terraform-provider-registry/internal/registry"
)

// The total size of a list of tags is bounded, not only the number of its pages. A
// thousand pages of 4 MiB that list nothing would keep a client busy for hours.
func TestListTags_PageLimits(t *testing.T) {
	for name, test := range map[string]struct {
		page  func(n int) string
		pages int32
		want  string
	}{
		"long_pages":   {func(n int) string { return fmt.Sprintf(`{"tags":["t%d"]%s}`, n, strings.Repeat(" ", 4<<20-1000)) }, 5, "longer than the 16 MiB"},
		"empty_pages":  {func(int) string { return `{"tags":[]}` }, 4, "more than 3 of its pages in a row list nothing new"},
		"same_page":    {func(int) string { return `{"tags":["a","b"]}` }, 5, "more than 3 of its pages in a row list nothing new"},
		"sparse_pages": {func(n int) string { return fmt.Sprintf(`{"tags":["t%d"]}`, n-n%4) }, 17, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var pages atomic.Int32
			server := servePlain(t, func(w http.ResponseWriter, _ *http.Request) {
				n := int(pages.Add(1))
				if test.want != "" || n < int(test.pages) {
					w.Header().Set("Link", fmt.Sprintf(`<?page=%d>; rel="next"`, n))
				}
				_, _ = io.WriteString(w, test.page(n))
			})
			tags, err := newClient(t).pull(t, address(server)+"/app").ListTags(t.Context())
			switch {
			case test.want != "":
				assertContains(t, assertErrorKind(t, err, registry.ErrLimit).Error(), test.want)
			case err != nil || strings.Join(tags, " ") != "t0 t4 t8 t12 t16":
				t.Errorf("ListTags() = %q, %v", tags, err)
			}
			if got := pages.Load(); got != test.pages {
				t.Errorf("ListTags() requested %d pages, want %d", got, test.pages)
			}
		})
	}
}
