# Build the R package's pages into build/site/r; nothing is fetched. Run by `make site` in the repository root.
# Articles are the prebuilt vignettes, and examples run with the engine.

# without this, pkgdown asks CRAN whether the package is there
options(pkgdown.internet = FALSE)
options(repos = c(CRAN = "file:///nowhere"))
pkgdown::build_site("r-package", examples = TRUE, preview = FALSE, new_process = FALSE, install = FALSE)
