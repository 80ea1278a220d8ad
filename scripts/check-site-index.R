# Whether _pkgdown.yml lists every help page, and nothing else. `pkgdown::check_pkgdown()` cannot say it offline: since
# 2.1 it asks for the site's address first.
site <- pkgdown::as_pkgdown("r-package")
pages <- site$topics[!site$topics$internal, ]
listed <- unlist(lapply(site$meta$reference, `[[`, "contents"))
forgotten <- pages$name[!vapply(pages$alias, function(names) any(names %in% listed), NA)]
unknown <- setdiff(listed, unlist(c(site$topics$alias, site$topics$name)))
if (length(forgotten) > 0) message("help pages that _pkgdown.yml does not list: ", toString(forgotten))
if (length(unknown) > 0) message("_pkgdown.yml lists what is no help page: ", toString(unknown))
quit(status = length(c(forgotten, unknown)) > 0)
