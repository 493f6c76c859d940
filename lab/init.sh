# PID 1 of a node. It builds the machine around itself, then goes over to the engine's loop inside.
# The caller gives: LAB_LEAVES (cgroup folders), LAB_NODE, LAB_ENGINE, LAB_BASE, LAB_SHARED, LAB_ROUTER.
set -eu
for leaf in $LAB_LEAVES; do echo 0 >"$leaf/cgroup.procs"; done
mount --make-rprivate /
echo "$LAB_NODE" >/proc/sys/kernel/hostname
mount -t overlay overlay -o "lowerdir=$LAB_ENGINE,upperdir=$LAB_BASE/up,workdir=$LAB_BASE/work" "$LAB_BASE/root"
cd "$LAB_BASE/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p host lab var/lib/docker etc/docker oldroot
mount --bind "$LAB_BASE/host" host
mount --bind "$LAB_SHARED" lab
mount -o remount,bind,ro lab
mount --bind "$LAB_BASE/data" var/lib/docker
printf '{"insecure-registries":["%s:5000"]}\n' "$LAB_ROUTER" >etc/docker/daemon.json
# Nothing answers there, and that is refused at once: with a name server out of reach every start of a local
# image waits 10 s for a pull that cannot be.
echo "nameserver $LAB_ROUTER" >etc/resolv.conf
echo "$LAB_NODE" >etc/hostname
printf '127.0.0.1 localhost\n%s %s\n' "$LAB_ADDRESS" "$LAB_NODE" >etc/hosts
# An engine inside a chroot cannot pivot its containers: the node's root has to be a real one.
pivot_root . oldroot
cd /
umount -l /oldroot
# As systemd leaves it: without it a plugin never sees a container's namespace file appear.
mount --make-rshared /
exec /bin/bash /host/engine.sh
