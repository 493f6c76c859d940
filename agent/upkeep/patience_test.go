package upkeep

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/agent/bundle"
)

func TestAPluginThatSomebodyDisabledIsLeftToHimForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		u, _ := keeping(t, f)
		f.made()
		f.change(net, func(p *bundle.Installed) { p.Enabled = false }, true)
		time.Sleep(patience - time.Second)
		f.tell() // other plugins' events come meanwhile
		synctest.Wait()
		same(t, f.made())
		if got := u.State().Problems(); len(got) != 1 || !strings.Contains(got[0], "somebody has disabled it") {
			t.Errorf("readiness says %v", got)
		}
		f.change(net, func(p *bundle.Installed) { p.Enabled = true }, true)
		synctest.Wait()
		ready(t, u, true, "when he has enabled it himself")
		time.Sleep(time.Minute)
		synctest.Wait()
		same(t, f.made())

		f.change(net, func(p *bundle.Installed) { p.Enabled = false }, true)
		time.Sleep(patience - time.Millisecond)
		synctest.Wait()
		same(t, f.made()) // the patience begins anew
		time.Sleep(time.Millisecond)
		synctest.Wait()
		same(t, f.made(), "enable "+net)
		ready(t, u, true, "at the end")
	})
}

func TestAPluginThatWeCouldNotEnableIsNobodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		u, _ := keeping(t, f)
		f.made()
		f.refuse["enable "+net] = "it died"
		f.change(net, func(p *bundle.Installed) { p.Enabled = false }, true)
		time.Sleep(patience)
		synctest.Wait()
		same(t, f.made(), "enable "+net)
		delete(f.refuse, "enable "+net)
		time.Sleep(bundle.Pause(1) + 10*time.Second) // the pause after a failure, and the next look
		synctest.Wait()
		same(t, f.made(), "enable "+net)
		ready(t, u, true, "at the end")
	})
}
