package peer

import (
	"fmt"
	"net"
	"testing"

	cni "github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/allocator"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/disk"
	"github.com/docker/docker/libnetwork/ipamapi"
	"github.com/docker/docker/libnetwork/ipams/defaultipam"
)

// subnet is as in the benchmarks of ipam-driver/pool: 65,536 addresses.
const subnet = "10.1.0.0/16"

// BenchmarkLibnetwork takes an address of Docker's default IPAM and gives it back, serially as Swarm asks it to.
func BenchmarkLibnetwork(b *testing.B) {
	a, err := defaultipam.NewAllocator(nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	_, space, err := a.GetDefaultAddressSpaces()
	if err != nil {
		b.Fatal(err)
	}
	pool, err := a.RequestPool(ipamapi.PoolRequest{AddressSpace: space, Pool: subnet})
	if err != nil {
		b.Fatal(err)
	}
	options := map[string]string{ipamapi.AllocSerialPrefix: "true"}
	b.ResetTimer()
	for range b.N {
		got, _, err := a.RequestAddress(pool.PoolID, nil, options)
		if err != nil {
			b.Fatal(err)
		}
		if err := a.ReleaseAddress(pool.PoolID, got.IP); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}

// BenchmarkHostLocal takes an address of host-local's allocator, with its store of one file an address, and gives it back.
// What a CNI call costs besides (a process, its JSON) is left out, and nothing of it is synced to disk.
func BenchmarkHostLocal(b *testing.B) {
	store, err := disk.New("bench", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	_, prefix, err := net.ParseCIDR(subnet)
	if err != nil {
		b.Fatal(err)
	}
	r := allocator.Range{Subnet: cni.IPNet(*prefix)}
	if err := r.Canonicalize(); err != nil {
		b.Fatal(err)
	}
	set := allocator.RangeSet{r}
	a := allocator.NewIPAllocator(&set, store, 0)
	for i := range 100 { // containers of a busy node
		if _, err := a.Get(fmt.Sprintf("there%d", i), "eth0", nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for range b.N {
		if _, err := a.Get("one", "eth0", nil); err != nil {
			b.Fatal(err)
		}
		if err := a.Release("one", "eth0"); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N)/1e6, "ms/call")
}
