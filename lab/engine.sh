# What is left of an init system: bash reaps orphans, and an engine that was killed comes back after a second.
unset LAB_LEAVES LAB_ENGINE LAB_BASE LAB_SHARED
ulimit -n "$(ulimit -Hn)" # as under systemd: hundreds of containers need more than a shell's 1,024 files
while :; do
  rm -f /run/docker.pid
  dockerd -H unix:///host/docker.sock -H unix:///run/docker.sock --cgroup-parent "$LAB_CGROUP" \
    --storage-driver overlay2 >>/host/dockerd.log 2>&1 &
  wait $! || :
  sleep 1
done
