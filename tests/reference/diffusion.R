# Reference values for tests/models/test_wiener.py.
# Run from this folder: Rscript diffusion.R   (writes diffusion.json and diffusion_versions.json)
# Debian and Ubuntu: apt-get install r-cran-rtdists r-cran-rwiener
#
# rtdists takes the starting point in units of a (z = w * a), RWiener as a share (beta = w). Both have a standard
# deviation of 1 per square root of a second.
suppressMessages({library(rtdists); library(RWiener); library(jsonlite)})

rows <- expand.grid(decision = c(.02, .05, .1, .2, .35, .6, 1, 1.8, 3, 6), v = c(-2.5, 0, .7, 4), a = c(.6, 1.5, 3),
                    w = c(.3, .5, .8))
t0 <- .25
for (side in c("upper", "lower")) {
  rows[[paste0("rwiener_", side)]] <- mapply(function(t, v, a, w)
    dwiener(t0 + t, alpha = a, tau = t0, beta = w, delta = v, resp = side), rows$decision, rows$v, rows$a, rows$w)
  rows[[paste0("rtdists_", side)]] <- mapply(function(t, v, a, w)
    ddiffusion(t0 + t, response = side, a = a, v = v, t0 = t0, z = w * a, precision = 5),
    rows$decision, rows$v, rows$a, rows$w)
}
write_json(rows, "diffusion.json", digits = NA, dataframe = "columns")
versions <- c(list(R = R.version.string), lapply(c(rtdists = "rtdists", RWiener = "RWiener", jsonlite = "jsonlite"),
                                                 function(name) as.character(packageVersion(name))))
write_json(versions, "diffusion_versions.json", auto_unbox = TRUE, pretty = TRUE)
