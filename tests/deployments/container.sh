#!/usr/bin/env bash
# In mount and process namespaces of its own: builds the image and runs it twice, as uid 12345, on the same volumes.
# container.sh SYSTEMS CONTEXT VOLUMES LIMITS
set -euo pipefail
systems=$1 context=$2 volumes=$3 limits=$4
builder=$systems/builder

mount --make-rprivate /
mount --bind "$builder" "$builder" # a mount point: unpacking a layer changes the root to it
mount -t proc proc "$builder/proc"
mount --rbind /dev "$builder/dev"
mount --rbind /sys "$builder/sys"
mkdir -p "$builder/srv/python" "$builder/srv/context" "$builder/srv/volumes" "$volumes"
mount --bind "$systems/python" "$builder/srv/python"
mount --bind "$context" "$builder/srv/context"
mount --bind "$volumes" "$builder/srv/volumes"

exec chroot "$builder" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root STORAGE_DRIVER=vfs \
  BUILDAH_ISOLATION=chroot limits="$limits" bash -euo pipefail -c '
base=docker.io/library/python:3.12-slim
buildah rm --all >/dev/null
buildah rmi --all --force >/dev/null
container=$(buildah from scratch)
buildah add -q "$container" /srv/python /
buildah commit -q "$container" "$base"
buildah rm "$container" >/dev/null
buildah build -q $limits --pull=never -t runbook /srv/context

container=$(buildah from $limits --pull=never runbook)
image=$(buildah mount "$container")
cp -a "$image/workspace" "$image/records" /srv/volumes # as a new volume gets the content of the image
mkdir /srv/volumes/workspace/parameters/demo
cp /srv/context/parameters/sandbox/*.yaml /srv/volumes/workspace/parameters/demo

# A new container each time, of which nothing is kept but the volumes; its sandbox ends with it, as its state stays.
in_container() {
  local fresh status=0
  fresh=$(buildah from $limits --pull=never runbook)
  buildah run -v /srv/volumes/workspace:/workspace -v /srv/volumes/records:/records "$fresh" -- \
    sh -c "\"\$@\"; status=\$?; runbook sandbox --stop; exit \$status" sh "$@" || status=$?
  buildah rm "$fresh" >/dev/null
  return $status
}
files=(-s parameters/demo/site.yaml parameters/demo/acme.yaml)

in_container sh -c "test \$(id -u) = 12345"
in_container sh -c "! touch /opt/runbook/x 2>/dev/null"
in_container runbook apply "${files[@]}"
run=$(cd /srv/volumes/records/demo/acme && echo *)
in_container runbook plan "${files[@]}"
in_container runbook records verify
in_container runbook rollback "$run" --apply --accept-interruption
in_container runbook records verify
status=0
in_container runbook plan --all -s parameters/demo/site.yaml || status=$?
test $status = 2
buildah umount "$container" >/dev/null
buildah rm --all >/dev/null
'
