# Knit the vignettes that the R package ships into r-package/vignettes, with output and figures, so that building,
# checking and installing the package need no Python. Run by `make prebuild-vignettes` in the repository root.

for (name in c("spicestat", "own-models")) {
  source <- normalizePath(file.path("vignettes", paste0(name, ".Rmd")))
  target <- file.path("r-package", "vignettes")
  dir.create(file.path(target, "figures"), recursive = TRUE, showWarnings = FALSE)
  old <- setwd(target)
  unlink(Sys.glob(file.path("figures", paste0(name, "-*"))))
  knitr::opts_chunk$set(fig.path = file.path("figures", paste0(name, "-")))
  built <- paste0(name, ".Rmd")
  knitr::knit(source, built, quiet = TRUE, envir = new.env(parent = globalenv()))
  # tests/project/test_doc_pages.py compares the fingerprint with the source
  origin <- sprintf("<!-- Made from vignettes/%s by `make prebuild-vignettes`; md5 %s -->", built, tools::md5sum(source))
  lines <- readLines(built)
  head_end <- which(lines == "---")[2]
  writeLines(append(lines, c("", origin), after = head_end), built)
  setwd(old)
}
