package provider_test

import (
	"fmt"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// Assertions of the acceptance tests.

// change returns the planned change of a resource.
func (p plan) change(address string) *tfjson.Change {
	p.t.Helper()
	for _, c := range p.document().ResourceChanges {
		if c.Address == address {
			return c.Change
		}
	}
	p.t.Fatalf("the plan has no %s:\n%s", address, p.text)
	return nil
}

// wantAction checks the planned action for a resource, such as tfjson.ActionCreate. A
// replacement has two actions.
func (p plan) wantAction(address string, actions ...tfjson.Action) plan {
	p.t.Helper()
	if got := p.change(address).Actions; !slices.Equal(got, actions) {
		p.t.Fatalf("%s: planned %v, want %v\n%s", address, got, actions, p.text)
	}
	return p
}

// wantChange checks that an attribute changes from before to after. nil means null.
func (p plan) wantChange(address, attribute string, before, after any) plan {
	p.t.Helper()
	c := p.change(address)
	if got := valueOf(c.Before, attribute); fmt.Sprint(got) != fmt.Sprint(before) {
		p.t.Errorf("%s.%s before: %v, want %v", address, attribute, got, before)
	}
	if unknown(c, attribute) {
		p.t.Errorf("%s.%s after: unknown, want %v", address, attribute, after)
	} else if got := valueOf(c.After, attribute); fmt.Sprint(got) != fmt.Sprint(after) {
		p.t.Errorf("%s.%s after: %v, want %v", address, attribute, got, after)
	}
	return p
}

// wantUnknown checks that attributes are known only after apply.
func (p plan) wantUnknown(address string, attributes ...string) plan {
	p.t.Helper()
	c := p.change(address)
	for _, attribute := range attributes {
		if !unknown(c, attribute) {
			p.t.Errorf("%s.%s is known: %v", address, attribute, valueOf(c.After, attribute))
		}
	}
	return p
}

// unknown reports whether an attribute is known only after apply.
func unknown(c *tfjson.Change, attribute string) bool {
	is, _ := valueOf(c.AfterUnknown, attribute).(bool)
	return is
}

func valueOf(object any, attribute string) any {
	values, _ := object.(map[string]any)
	return values[attribute]
}

// wantNoChanges checks that a new plan is empty.
func (w *workspace) wantNoChanges(args ...string) outcome {
	w.t.Helper()
	const changes = 2 // exit status of -detailed-exitcode if there are changes
	o := w.run(append([]string{"plan", "-json", "-input=false", "-detailed-exitcode"}, args...)...)
	switch o.status {
	case 0:
	case changes:
		stdout, _, _ := w.command(append([]string{"plan", "-no-color", "-input=false"}, args...)...)
		w.t.Errorf("the plan is not empty:\n%s", stdout)
	default:
		w.t.Fatalf("failed:\n%s", o.text)
	}
	return o
}

// wantError checks that one of the errors contains all texts in its summary or detail, ignoring
// case.
func (o outcome) wantError(texts ...string) diagnostic {
	o.t.Helper()
	return o.findDiagnostic("error", texts)
}

// wantWarning is like wantError, but checks warnings.
func (o outcome) wantWarning(texts ...string) diagnostic {
	o.t.Helper()
	return o.findDiagnostic("warning", texts)
}

func (o outcome) findDiagnostic(severity string, texts []string) diagnostic {
	o.t.Helper()
	for _, d := range o.diagnostics {
		all := strings.ToLower(d.Summary + "\n" + d.Detail)
		lacks := func(text string) bool { return !strings.Contains(all, strings.ToLower(text)) }
		if d.Severity == severity && !slices.ContainsFunc(texts, lacks) {
			return d
		}
	}
	o.t.Fatalf("no %s has all of %q:\n%s", severity, texts, o.text)
	return diagnostic{}
}

// wantNoWarnings checks that there are no warnings.
func (o outcome) wantNoWarnings() outcome {
	o.t.Helper()
	for _, d := range o.diagnostics {
		if d.Severity == "warning" {
			o.t.Errorf("unexpected warning: %s\n%s", d.Summary, d.Detail)
		}
	}
	return o
}

// wantNoWarningsBut checks that all warnings contain text.
func (o outcome) wantNoWarningsBut(text string) outcome {
	o.t.Helper()
	for _, d := range o.diagnostics {
		if d.Severity == "warning" && !strings.Contains(d.Summary+"\n"+d.Detail, text) {
			o.t.Errorf("unexpected warning: %s\n%s", d.Summary, d.Detail)
		}
	}
	return o
}

// assertAt checks that the diagnostic refers to a line of the configuration that contains code.
func (d diagnostic) assertAt(o outcome, code string) {
	o.t.Helper()
	if d.Snippet == nil || !strings.Contains(d.Snippet.Code, code) {
		o.t.Errorf("%q points at %+v, want %q", d.Summary, d.Snippet, code)
	}
}
