package parts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// frr is the other router of the field: FRR learns the same as bird from the same managers. Only one of the two can be on.
func frr() Part {
	return Part{
		Name:     "frr",
		Does:     "FRR, a BGP router that peers with every manager",
		Packages: []string{"frr"},
		Within:   20 * time.Second,
		Prepare: func(_ context.Context, s Site) (Program, error) {
			file := filepath.Join(s.Folder, "frr.conf")
			if err := os.WriteFile(file, []byte(frrConfig(s)), 0o644); err != nil {
				return Program{}, fmt.Errorf("frr: %w", err)
			}
			return Program{Path: "sh", Args: []string{"-c", frrWrapper, "frr", s.Folder, s.Router.String(), file}}, nil
		},
		Ready: func(ctx context.Context, s Site) error {
			text, err := AskFRR(ctx, s.Folder, "show running-config")
			if err == nil && !strings.Contains(text, "router bgp") {
				err = fmt.Errorf("frr has not read its configuration yet")
			}
			return err
		},
	}
}

// AskFRR is vtysh -c.
func AskFRR(ctx context.Context, folder, command string) (string, error) {
	out, err := exec.CommandContext(ctx, "vtysh", "--vty_socket", folder, "-c", command).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("ask frr %q: %w: %s", command, err, out)
	}
	return string(out), nil
}

// frrWrapper starts the three daemons in a PID namespace, so that they end together, and gives them one file as FRR's own
// start script does. A stop asks bgpd alone: when it has ended, so have all. They stay root, so that their sockets can be
// in any folder; FRR wants their user in its group, which is so in a mount namespace of their own.
const frrWrapper = `
unshare --mount --pid --fork --kill-child sh -c '
d=/usr/lib/frr
sed "/^frrvty:/s/\$/,root/" /etc/group >"$1/group" && mount --bind "$1/group" /etc/group
for f in "$1"/*.vty "$1"/*.pid; do rm -f "$f"; done
$d/zebra -u root -g root -f /dev/null --vty_socket "$1" -i "$1/zebra.pid" -z "$1/z" -P 0 --log stdout &
while ! [ -S "$1/zebra.vty" ]; do sleep 0.05; done
$d/bfdd -u root -g root -f /dev/null --vty_socket "$1" -i "$1/bfdd.pid" -z "$1/z" --bfdctl "$1/bfd" -P 0 --log stdout &
while ! [ -S "$1/bfdd.vty" ]; do sleep 0.05; done
( while ! [ -S "$1/bgpd.vty" ]; do sleep 0.05; done; vtysh --vty_socket "$1" -f "$3" ) &
exec $d/bgpd -u root -g root -f /dev/null --vty_socket "$1" -i "$1/bgpd.pid" -z "$1/z" -l "$2" -p 179 -P 0 --log stdout
' frr "$@" &
u=$!
trap 'kill -TERM $(cat /proc/$u/task/$u/children)' TERM
while kill -0 $u 2>/dev/null; do wait $u; done`

// frrConfig: the managers dial. FRR takes only addresses of containers, and tells nothing.
func frrConfig(s Site) string {
	var b strings.Builder
	fmt.Fprintf(&b, `bfd
 profile swarm
  receive-interval 100
  transmit-interval 100
  detect-multiplier 5
 exit
exit
!
ip prefix-list containers seq 5 permit 10.200.0.0/13 le 32
ip prefix-list containers seq 10 permit 0.0.0.0/0 ge 32
ipv6 prefix-list containers6 seq 5 permit ::/0 ge 104
!
route-map from-swarm permit 10
 match ip address prefix-list containers
exit
!
route-map from-swarm6 permit 10
 match ipv6 address prefix-list containers6
exit
!
route-map to-swarm deny 10
exit
!
router bgp %[2]d
 bgp router-id %[1]s
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 neighbor swarm peer-group
 neighbor swarm remote-as %[2]d
 neighbor swarm passive
 neighbor swarm bfd profile swarm
 neighbor swarm timers 3 9
`, s.Router, contract.ASN)
	for _, m := range s.Managers {
		fmt.Fprintf(&b, " neighbor %s peer-group swarm\n", m)
	}
	b.WriteString(` !
 address-family ipv4 unicast
  neighbor swarm route-map from-swarm in
  neighbor swarm route-map to-swarm out
  maximum-paths ibgp 8
 exit-address-family
 !
 address-family ipv6 unicast
  neighbor swarm activate
  neighbor swarm route-map from-swarm6 in
  neighbor swarm route-map to-swarm out
  maximum-paths ibgp 8
 exit-address-family
exit
`)
	return b.String()
}
