#!/usr/bin/env bash
# Run the tests of other packages on group models in a Debian 13, which has marginaleffects and broom.helpers, made for it
# under build/; needs root and debootstrap. TRIXIE names a chroot that is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
root=${TRIXIE:-$PWD/build/trixie}
packages=(r-base-core r-cran-reticulate r-cran-ggplot2 r-cran-tibble r-cran-cli r-cran-rlang r-cran-generics r-cran-nlme
  r-cran-testthat r-cran-metafor r-cran-car r-cran-lmtest r-cran-multcomp r-cran-emmeans r-cran-insight r-cran-parameters
  r-cran-bayestestr r-cran-ggeffects r-cran-posterior r-cran-bayesplot r-cran-loo r-cran-marginaleffects
  r-cran-broom.helpers)

if [ "$(id -u)" != 0 ] || { [ ! -d "$root/usr" ] && ! command -v debootstrap >/dev/null; }; then
  echo "clients: needs root and debootstrap (or TRIXIE=<a chroot of Debian 13>)" >&2
  exit 1
fi
[ -d "$root/usr" ] || debootstrap --variant=minbase trixie "$root" http://deb.debian.org/debian >build/debootstrap.log
inside() { chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }

mountpoint -q "$root/proc" || { mount --bind /proc "$root/proc"; trap 'umount "$root/proc"' EXIT; }
inside sh -c "apt-get update -qq && apt-get install -y -qq --no-install-recommends ${packages[*]} >/dev/null"
folder=$root/root/clients
rm -rf "$folder" && mkdir -p "$folder"
cp build/spicestat_*.tar.gz r-package/tests/testthat/{helper-*,test-clients}.R "$folder"
inside sh -c 'cd /root/clients && R CMD INSTALL --no-multiarch --library=. spicestat_*.tar.gz >install.log 2>&1 || { cat install.log; exit 1; }'
inside sh -c 'cd /root/clients && NOT_CRAN=true R_LIBS=/root/clients Rscript --vanilla -e "
  testthat::test_file(\"test-clients.R\", package = \"spicestat\", load_package = \"installed\", reporter = \"summary\", stop_on_failure = TRUE)"'
