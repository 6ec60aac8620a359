package provider_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// terraform runs a sequence. It is the emulation of Terraform core or a real terraform.
type terraform interface {
	// plan plans a configuration. It returns an error if the configuration is rejected.
	plan(config settings, o planOptions) (plannedRun, error)
	// apply applies a plan. It returns an error if the apply fails or the fixture ends it.
	apply(planned plannedRun) error
	// stored returns the objects of each resource in the state, the current one first.
	stored() map[string][]storedCopy
	taint(name string)
	// importTag imports a tag as a resource of the configuration.
	importTag(config settings, name, id string) error
}

// plannedRun is a plan that can be applied.
type plannedRun struct {
	copies map[string]plannedCopy
	empty  bool
	handle any // data of the implementation
}

// sequence is a random sequence of configurations, tag changes by other clients, and failures.
// The model checks every run.
type sequence struct {
	t         *testing.T
	random    *rand.Rand
	w         *fixture
	tf        terraform
	model     *ownershipModel
	config    settings
	log       []string
	faultless bool // without failures and changes by other clients
	stopped   bool // a violation was found
}

func newSequence(t *testing.T, seed uint64, run func(*fixture, *rand.Rand) terraform) *sequence {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	w := newFixture(t, random)
	order := rand.New(rand.NewPCG(seed, 2))
	return &sequence{t: t, random: random, w: w, tf: run(w, order), model: &ownershipModel{w: w, owners: map[tagAt]map[string]digest.Digest{}, lost: map[string]bool{}}, config: settings{}}
}

func (s *sequence) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

// fail fails the test and logs the steps that led to the violation.
func (s *sequence) fail(format string, args ...any) {
	s.t.Helper()
	s.stopped = true
	s.t.Errorf("%s\n\nsteps:\n%s\n\nconfiguration:\n%s", fmt.Sprintf(format, args...), strings.Join(s.log, "\n"), s.config)
}

// run performs a number of steps, and destroys everything at the end.
func (s *sequence) run(steps int) {
	s.t.Helper()
	for step := 0; step < steps && !s.stopped; step++ {
		s.changeTags(2)
		s.step()
	}
	if !s.stopped {
		s.runOnce(s.config, planOptions{destroy: true})
	}
}

// changeTags sometimes changes tags as another client: source tags and tags at the
// destinations. It returns the changed destination tags.
func (s *sequence) changeTags(rarely int) map[tagAt]bool {
	changed := map[tagAt]bool{}
	for range 2 {
		if !chance(s.random, rarely) {
			continue
		}
		at := s.w.randomSource(s.random)
		switch s.random.IntN(4) {
		case 0:
			at = tagAt{s.random.IntN(len(s.w.hosts)), pick(s.random, destinationRepos), pick(s.random, unmanagedTags)}
		case 1, 2:
			at = randomTarget(s.random)
			changed[at] = true
		}
		content := s.random.IntN(len(contents()))
		if held := s.w.snapshot()[at]; held != "" && changed[at] && chance(s.random, 4) {
			s.w.remove(at)
			s.note("other client removes %s", at)
			continue
		}
		s.w.push(at, content)
		s.note("other client pushes %s to %s", contentNames[content], at)
	}
	s.model.unseen = s.model.unseen || len(changed) > 0
	return changed
}

// step changes the configuration, plans and applies it.
func (s *sequence) step() {
	s.t.Helper()
	config := maps.Clone(s.config)
	for range 1 + s.random.IntN(3) {
		if what := s.w.edit(s.random, config); !config.hasConflict() {
			s.note("edit: %s", what)
		} else {
			config = maps.Clone(s.config)
		}
	}
	o := planOptions{noRefresh: chance(s.random, 8), destroy: chance(s.random, 15)}
	stored := s.tf.stored()
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		switch s.random.IntN(12) {
		case 0:
			s.tf.taint(name)
			s.note("taint %s", name)
		case 1:
			o.replace = name
		}
	}
	s.maybeImport(config)
	if r := s.runOnce(config, o); r != nil {
		s.converges(r)
	}
}

// maybeImport sometimes imports the tag of a new resource, if the tag exists.
func (s *sequence) maybeImport(config settings) {
	stored, now := s.tf.stored(), s.w.snapshot()
	for _, name := range slices.Sorted(maps.Keys(config)) {
		one := config[name]
		if len(stored[name]) > 0 || now[one.target] == "" || !chance(s.random, 4) || s.model.mayRefuse(settings{name: copySettings{target: one.target, overwrite: true}}, planOptions{}, stored, now) {
			continue
		}
		if err := s.tf.importTag(config, name, s.w.reference(one.target, one.spelling)); err != nil {
			s.fail("import of %s: %v", name, err)
			return
		}
		s.model.recordOwner(name, one.target, now[one.target])
		s.note("import %s as %s", one.target, name)
	}
}

// runOnce plans and applies a configuration, and checks the result with the model. It returns
// nil if the configuration is rejected. Otherwise the configuration becomes the current one.
func (s *sequence) runOnce(config settings, o planOptions) *finishedRun {
	s.t.Helper()
	r := &finishedRun{config: config, options: o, storedBefore: s.tf.stored(), before: s.w.snapshot()}
	s.w.startRun(fault{}, "", 0, nil)
	planned, err := s.tf.plan(config, o)
	s.note("plan %+v of\n%s\n    %s", o, config, s.describe(planned))
	if !maps.Equal(r.before, s.w.snapshot()) {
		s.fail("the plan changed tags")
	}
	if err != nil {
		s.note("refused: %s", firstLine(err))
		if !s.model.mayRefuse(config, o, r.storedBefore, r.before) {
			s.fail("a plan was refused without a reason in the model: %v", err)
		}
		return nil
	}
	if !o.noRefresh {
		s.model.unseen = false
		if untrue := s.model.wrongPromotions(planned.copies); len(untrue) > 0 {
			s.fail("%s", strings.Join(untrue, "\n"))
		}
	}
	s.config, r.planned = config, planned.copies
	if !s.faultless && chance(s.random, 8) {
		r.interfered = s.changeTags(1)
		r.before = s.w.snapshot()
	}
	s.apply(r, planned, true)
	return r
}

// apply applies a plan, sometimes with a failure.
func (s *sequence) apply(r *finishedRun, planned plannedRun, mayBeDisturbed bool) {
	s.t.Helper()
	f, how, at := fault{}, termination(""), 0
	switch choice := s.random.IntN(4); {
	case !mayBeDisturbed || s.faultless:
	case choice == 0:
		f = randomFault(s.random)
		s.note("fault at host%d: %s", f.host, f.name)
	case choice == 1:
		how = pick(s.random, []termination{interrupted, providerKilled, allKilled})
		at = 1 + s.random.IntN(25)
		s.note("%s at request %d", how, at)
	}
	s.w.startRun(f, how, at, nil)
	r.err = s.tf.apply(planned)
	affected := s.w.faultHits > f.after || s.w.termination() != ""
	s.w.mu.Lock()
	r.writes = slices.Clone(s.w.writes)
	s.w.mu.Unlock()
	s.note("applied: %s", firstLine(r.err))
	if affected {
		s.note("requests failed: %d, ended: %q", max(0, s.w.faultHits-f.after), s.w.termination())
	}
	r.after, r.storedAfter = s.w.snapshot(), s.tf.stored()
	if faults := s.model.check(*r); len(faults) > 0 {
		slices.Sort(faults)
		s.fail("%s", strings.Join(faults, "\n"))
	}
	if r.err != nil && !affected && !s.mayFail(*r) {
		s.fail("an apply failed without a reason in the model: %v", r.err)
	}
	s.model.update(*r)
	if s.w.termination() == providerKilled || s.w.termination() == allKilled || f.name == responsesLost {
		s.model.forget(r.config)
	}
}

// mayFail reports whether the apply of a valid plan may fail: the plan did not see a moved tag,
// or Terraform does not pass private state to a new object.
func (s *sequence) mayFail(r finishedRun) bool {
	for name, planned := range r.planned {
		if planned.action == createThenDelete && !r.config[name].overwrite {
			return true
		}
	}
	return r.interfered != nil || s.model.unseen || s.model.mayRefuse(r.config, r.options, r.storedBefore, r.before)
}

// converges checks that the plan after a successful apply is empty, and that another apply
// completes a failed one.
func (s *sequence) converges(last *finishedRun) {
	s.t.Helper()
	for attempt := 1; !s.stopped; attempt++ {
		clean := last.err == nil && last.interfered == nil && !last.options.noRefresh && !last.options.destroy
		r := finishedRun{config: s.config, storedBefore: s.tf.stored(), before: s.w.snapshot()}
		s.w.startRun(fault{}, "", 0, nil)
		planned, err := s.tf.plan(s.config, r.options)
		if err != nil {
			s.note("refused: %s", firstLine(err))
			if !s.model.mayRefuse(s.config, r.options, r.storedBefore, r.before) {
				s.fail("a plan was refused without a reason in the model: %v", err)
			}
			return
		}
		s.model.unseen = false
		if planned.empty {
			return
		}
		s.note("plan again: %s", s.describe(planned))
		if clean {
			s.fail("the plan after an apply that succeeded is not empty")
			return
		}
		r.planned = planned.copies
		if s.apply(&r, planned, attempt == 1); r.err != nil && attempt > 1 {
			return // for a reason that the model allows
		}
		last = &r
	}
}

// describe returns the changes of a plan in one line.
func (s *sequence) describe(planned plannedRun) string {
	var changes []string
	for _, name := range slices.Sorted(maps.Keys(planned.copies)) {
		changes = append(changes, fmt.Sprintf("%s: %s %s", name, planned.copies[name].action, s.w.name(planned.copies[name].digest)))
	}
	return strings.Join(changes, "; ")
}

func firstLine(err error) string {
	if err == nil {
		return "success"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// seeds returns the seeds of the sequences to run. SEQUENCES_SEED selects a single one,
// SEQUENCES their number, and SEQUENCES_FIRST the first one.
func seeds(t *testing.T, count int) (all []uint64) {
	t.Helper()
	number := func(variable string, fallback int) int {
		if os.Getenv(variable) == "" {
			return fallback
		}
		n, err := strconv.Atoi(os.Getenv(variable))
		if err != nil {
			t.Fatalf("%s: %v", variable, err)
		}
		return n
	}
	if one := number("SEQUENCES_SEED", -1); one >= 0 {
		return []uint64{uint64(one)}
	}
	first := number("SEQUENCES_FIRST", 1)
	for i := range number("SEQUENCES", count) {
		all = append(all, uint64(first+i))
	}
	return all
}

func TestSequences_InProcess(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds(t, 300) {
		t.Run(fmt.Sprintf("seed_%d", seed), func(t *testing.T) {
			t.Parallel()
			newSequence(t, seed, newEmulatedTerraform(t)).run(6)
		})
	}
}
