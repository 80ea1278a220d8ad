#!/usr/bin/env bash
# Install R and the R packages that the tests, the checks and the vignettes need; only what is missing.
set -euo pipefail

packages=(reticulate generics tibble rlang cli ggplot2 nlme testthat knitr rmarkdown roxygen2 lintr metafor lme4 lmerTest glmmTMB
  brms emmeans mvtnorm posterior broom broom.mixed jsonlite processx covr pkgdown dplyr)
# what they make of our results is tested where they are to be had: Debian 13, for one, has no performance
clients=(car lmtest multcomp insight parameters performance bayestestR ggeffects bayesplot loo)

have() { command -v "$1" >/dev/null; }

# the last word on a client is apt's, where there is one
to_be_had() {
  [[ " ${clients[*]} " != *" $1 "* ]] || ! have apt-cache || grep -q 'Candidate: [^(]' <<<"$(apt-cache policy "r-cran-${1,,}")"
}

missing_packages() {
  local package
  for package in $(not_installed "${packages[@]}" "${clients[@]}"); do
    if to_be_had "$package"; then echo "$package"; fi
  done
}

not_installed() {
  if ! have Rscript; then
    echo "$@"
    return
  fi
  Rscript --vanilla -e 'wanted <- commandArgs(TRUE)
    cat(wanted[!nzchar(vapply(wanted, function(p) system.file(package = p), ""))])' "$@"
}

# R loads Python as a shared library, which Debian ships in a package of its own
has_shared_library() {
  [ ! -x .venv/bin/python ] || .venv/bin/python -c 'import os, sysconfig
folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
raise SystemExit(not (name.endswith((".so", ".dylib", ".1.0")) and os.path.exists(os.path.join(folder, name))))'
}

cd "$(dirname "$0")/.."
if ! has_shared_library; then
  version=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  if have apt-get && [ "$(id -u)" = 0 ]; then
    echo "setup: apt-get install libpython$version"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "libpython$version" >/dev/null
  fi
  has_shared_library || {
    echo "setup: R cannot load this Python ($(.venv/bin/python -c 'import sys; print(sys.base_prefix)')): it has no shared" \
      "library. Install libpython$version, or build Python with --enable-shared, and run 'make clean setup'." >&2
    exit 1
  }
fi

missing=$(missing_packages)
# R CMD check warns without qpdf
if have Rscript && have pandoc && have qpdf && [ -z "$missing" ]; then exit 0; fi

if have apt-get && [ "$(id -u)" = 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  debs=()
  have Rscript || debs+=(r-base-core r-base-dev)
  have pandoc || debs+=(pandoc)
  have qpdf || debs+=(qpdf)
  for package in $(missing_packages); do debs+=("r-cran-${package,,}"); done
  echo "setup: apt-get install ${debs[*]}"
  apt-get install -y -qq --no-install-recommends "${debs[@]}" >/dev/null
elif have Rscript; then
  have pandoc || echo "setup: pandoc is missing; the vignettes cannot be rendered without it" >&2
  have qpdf || echo "setup: qpdf is missing; 'make check-r' cannot pass without it" >&2
  if [ -n "$missing" ]; then
    echo "setup: installing R packages from CRAN: $missing"
    Rscript --vanilla -e 'target <- Sys.getenv("R_LIBS_USER")
      dir.create(target, recursive = TRUE, showWarnings = FALSE)
      install.packages(commandArgs(TRUE), lib = target, repos = "https://cloud.r-project.org")' $missing
  fi
else
  cat >&2 <<MESSAGE
setup: R is missing, and this script can install it only as root on Debian or Ubuntu.
  Install R 4.2 or later (https://cran.r-project.org), pandoc and qpdf, then run 'make setup-r' again:
  it installs the R packages itself (${packages[*]} ${clients[*]}).
  The Python engine needs no R: 'make demo' and 'make test-python' work as they are.
MESSAGE
  exit 1
fi

missing=$(missing_packages)
if [ -n "$missing" ]; then
  echo "setup: these R packages could not be installed: $missing" >&2
  exit 1
fi
echo "setup: R is ready"
