package engine_test

import (
	"testing"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

func TestOverviews(t *testing.T) {
	story(t, "all projects show what runs, and their last rollouts", func(b *bench) {
		b.apply(ordersFile)
		before, err := b.Overviews(b.Context())
		if err != nil || len(before) != 1 || len(before[0].Last) != 0 || len(before[0].Environments[0].Services) != 0 {
			b.Fatalf("%+v %v", before, err)
		}
		b.runs("1")
		second := b.release("2")
		b.want(b.ended(b.deploy("test", second)), release.Succeeded)
		all, err := b.Overviews(b.Context())
		if err != nil || len(all) != 1 {
			b.Fatalf("%+v %v", all, err)
		}
		test, production := all[0].Environments[0], all[0].Environments[1]
		if len(test.Services) != 2 || test.Services[0].Running != test.Services[0].Wanted || test.Release != second || production.Release != "r-1" {
			b.Errorf("%+v", all[0].Environments)
		}
		if last := all[0].Last; last["test"].Release != second || last["production"].Release != "r-1" || last["test"].State != release.Succeeded || last["test"].Plan != "" {
			b.Errorf("%+v", last)
		}
	})
}

func TestGates(t *testing.T) {
	story(t, "each environment says why a release may not come", func(b *bench) {
		b.apply(ordersFile)
		first, second := b.runs("1"), b.release("2")
		gates, err := b.Gates(b.Context(), "orders", []release.ID{first, second})
		if err != nil {
			b.Fatal(err)
		}
		if why := gates[second]["production"]; len(why) != 1 || why[0].Code != release.StageSkipped {
			b.Errorf("production: %v", why)
		}
		if len(gates[second]["test"])+len(gates[first]["production"]) != 0 {
			b.Errorf("closed: %v", gates)
		}
		_, err = b.Gates(b.Context(), "orders", []release.ID{"r-77"})
		b.refused(err, engine.NotFound)
	})
}

func TestTheWayBackIsTheOneThatIsTaken(t *testing.T) {
	story(t, "there is none at first, and then it is what a rollback does", func(b *bench) {
		b.apply(ordersFile)
		first := b.runs("1")
		_, err := b.PlanBack(b.Context(), "orders", "test")
		b.refused(err, engine.NotFound)
		b.want(b.ended(b.deploy("test", b.release("2"))), release.Succeeded)
		p, err := b.PlanBack(b.Context(), "orders", "test")
		if err != nil || p.Release != first || p.Empty {
			b.Fatalf("%+v %v", p, err)
		}
		r, err := b.Rollback(b.Context(), engine.Rollback{Project: "orders", Environment: "test"})
		if err != nil || r.Release != first || r.Plan != p.Text {
			b.Errorf("looked at\n%s\ndone\n%s\n%v", p.Text, r.Plan, err)
		}
		b.ended(r)
	})
}

func TestStories(t *testing.T) {
	story(t, "a rollout's story is its own, from its beginning to its end", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		r := b.ended(b.deploy("test", b.release("2")))
		b.ended(b.deploy("production", "r-2"))
		told, err := b.Story(b.Context(), r.ID)
		if err != nil || len(told) < 3 || told[0].Type != "rollout.started" || told[len(told)-1].Type != "rollout.ended" {
			b.Fatalf("%+v %v", told, err)
		}
		for _, e := range told {
			if e.Rollout != r.ID || e.Environment != project.EnvironmentName("test") {
				b.Errorf("another's: %+v", e)
			}
		}
		_, err = b.Story(b.Context(), "ro999")
		b.refused(err, engine.NotFound)
	})
}
